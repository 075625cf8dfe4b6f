#include "datasets/import/import.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <stdexcept>

#include "core/atomic_file.h"
#include "core/nearest.h"
#include "datasets/dataset.h"
#include "datasets/import/import_inputs.h"
#include "datasets/import/import_parts.h"
#include "datasets/import/import_remarks.h"

namespace salebench {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPieceValues = 1 << 20;

void check_options(const ImportOptions& o) {
  if (o.inputs.empty()) throw std::invalid_argument("import takes files with q, k and v, or a folder of them");
  if (o.inputs.size() == 1 && o.inputs[0].ends_with(".npy"))
    throw std::invalid_argument(fmt::format("{} holds one tensor; give three .npy files: q, k and v", o.inputs[0]));
  const std::vector<std::string> layouts = {"hld", "lhd", "bhld", "blhd"};
  if (std::ranges::count(layouts, o.layout) == 0)
    throw std::invalid_argument(fmt::format("unknown layout '{}'{}", o.layout, did_you_mean(o.layout, layouts)));
  if (o.batch < 0 || (o.batch > 0 && o.layout.size() == 3))
    throw std::invalid_argument(fmt::format("batch {} of a layout without b", o.batch));
  if (!o.dtype.empty() && o.dtype != "float16" && o.dtype != "bfloat16")
    throw std::invalid_argument(fmt::format("dtype is '{}', not float16 or bfloat16", o.dtype));
  if (!std::isfinite(o.scale) || o.scale < 0)
    throw std::invalid_argument(fmt::format("scale is {}, but must be positive", o.scale));
  if (!std::isfinite(o.softcap) || o.softcap < 0)
    throw std::invalid_argument(fmt::format("softcap is {}, but must be positive", o.softcap));
  if (o.window < 0 || o.first_key < 0)
    throw std::invalid_argument("a window and a first key are numbers of keys, not negative");
  if (o.window > 0 && !o.causal)
    throw std::invalid_argument("--window is that of a causal mask; it goes with no --non-causal");
  if (o.out.empty()) throw std::invalid_argument("no output file");
  std::error_code ignored;
  std::vector<std::string> inputs = o.inputs;
  inputs.push_back(o.output);
  for (const std::string& input : inputs)
    if (fs::equivalent(input, o.out, ignored))
      throw std::invalid_argument(fmt::format("{} is both input and output", o.out));
  if (o.append && o.force) throw std::invalid_argument("--append adds to a capture, --force overwrites it: not both");
  if (fs::exists(o.out, ignored) && !o.force && !o.append)
    throw std::invalid_argument(fmt::format("{} exists; --append adds to it, --force overwrites it", o.out));
}

/// The ids of the problems that the capture has already.
std::set<std::string> taken_ids(const ImportOptions& o) {
  std::set<std::string> ids;
  std::error_code ignored;
  if (!o.append || !fs::exists(o.out, ignored)) return ids;
  const Dataset there(o.out);
  for (const ProblemInfo& problem : there.problems()) ids.insert(problem.id);
  return ids;
}

/// Throws std::invalid_argument for what HDF5 can't name a group, and for what the capture has already.
void check_id(const std::string& id, const ImportOptions& o, const std::set<std::string>& taken) {
  if (id.empty() || id == "." || id.find('/') != std::string::npos)
    throw std::invalid_argument(fmt::format("'{}' can't be the id of a problem; --id gives another", id));
  if (taken.contains(id))
    throw std::invalid_argument(fmt::format("{} has a problem '{}' already; --id gives another", o.out, id));
}

/// What is written beside the tensors. Throws as import_capture() does.
CaptureProblem problem_of(const ImportOptions& o, const ImportPart& part) {
  CaptureProblem problem;
  problem.id = part.id;
  problem.shape = problem_shape(part.inputs, o.layout);
  if (o.first_key >= problem.shape.kv_len)
    throw std::invalid_argument(
        fmt::format("--first-key {}: there are {} keys, which count from 0", o.first_key, problem.shape.kv_len));
  const bool all_bfloat16 = std::ranges::all_of(
      part.inputs, [](const ImportInput& input) { return input.info.type == ElementType::kBfloat16; });
  problem.dtype = !o.dtype.empty() ? o.dtype : all_bfloat16 ? "bfloat16" : "float16";
  problem.causal = o.causal, problem.scale = o.scale, problem.layer = part.layer;
  problem.window = o.window, problem.first_key = o.first_key, problem.softcap = o.softcap;
  problem.has_output = !o.output.empty();
  problem.texts = {{"model", o.model}, {"source", o.source}};
  return problem;
}

/// Checks a piece of a tensor and rounds it; its rows begin with row `first` in the order of the file.
std::vector<std::uint16_t> round_piece(const ImportInput& input, std::uint64_t first, std::span<const float> values,
                                       const std::string& dtype) {
  std::vector<std::uint16_t> bits = to_16bit(values, dtype);
  // All bits of the exponent set: infinity or NaN, in the file or by rounding.
  const std::uint16_t exponent = dtype == "bfloat16" ? 0x7f80 : 0x7c00;
  const auto bad = std::ranges::find_if(bits, [&](std::uint16_t x) { return (x & exponent) == exponent; });
  if (bad == bits.end()) return bits;
  const auto at = std::uint64_t(bad - bits.begin());
  const std::uint64_t row = first + at / input.dim;
  const std::string place =
      fmt::format("head {}, token {}, channel {}", input.heads_first ? row / input.len : row % input.heads,
                  input.heads_first ? row % input.len : row / input.heads, at % input.dim);
  // A float64 may be finite and yet be infinite as float32; only the file's own bits would tell.
  if (std::isnan(values[at]) || (std::isinf(values[at]) && input.info.type != ElementType::kFloat64))
    throw DataError(fmt::format("{} holds {} at {}", input.where(), values[at], place));
  throw DataError(fmt::format("{} holds {} at {}, which is out of the range of {}{}", input.where(), values[at], place,
                              dtype, dtype == "float16" ? "; store it with --dtype bfloat16" : ""));
}

/// Writes the rows of a piece, which begin with row `first` in the order of the file, to their heads.
void write_piece(CaptureWriter& writer, const ImportInput& input, std::uint64_t first,
                 std::span<const std::uint16_t> bits) {
  const std::uint64_t rows = bits.size() / input.dim;
  if (input.heads_first) {
    for (std::uint64_t row = 0; row < rows;) {
      const std::uint64_t head = (first + row) / input.len, token = (first + row) % input.len;
      const std::uint64_t count = std::min(rows - row, input.len - token);
      writer.write_rows(input.name, int(head), int(token), bits.subspan(row * input.dim, count * input.dim));
      row += count;
    }
    return;
  }
  std::vector<std::uint16_t> of_head;
  for (std::uint64_t start = 0; start < std::min(rows, input.heads); ++start) {
    of_head.clear();
    for (std::uint64_t row = start; row < rows; row += input.heads) {
      const auto begin = bits.begin() + std::ptrdiff_t(row * input.dim);
      of_head.insert(of_head.end(), begin, begin + std::ptrdiff_t(input.dim));
    }
    writer.write_rows(input.name, int((first + start) % input.heads), int((first + start) / input.heads), of_head);
  }
}

/// Reads, checks and writes one tensor. `step` hears of every piece's rows. Returns what its values look like.
template <class Step>
TensorLook copy_tensor(const ImportInput& input, CaptureWriter& writer, const std::string& dtype, const Step& step) {
  TensorLook look(input.heads, input.len, input.dim, input.heads_first);
  const std::shared_ptr<ByteSource> data = input.file->data(input.index);
  const std::uint64_t rows = input.heads * input.len;
  const std::size_t element = size_of(input.info.type), piece_rows = std::max<std::size_t>(1, kPieceValues / input.dim);
  std::vector<std::byte> bytes;
  std::vector<float> values;
  for (std::uint64_t row = 0; row < rows; row += piece_rows) {
    const auto count = std::size_t(std::min<std::uint64_t>(piece_rows, rows - row));
    values.resize(count * input.dim);
    bytes.resize(values.size() * element);
    data->read((input.first + row * input.dim) * element, bytes);
    to_float32(input.info.type, bytes, values);
    look.add(row, values);
    write_piece(writer, input, row, round_piece(input, row, values, dtype));
    step(count);
  }
  data->finish();
  return look;
}

}  // namespace

ImportResult import_capture(const ImportOptions& o, const ProgressCall& progress) {
  check_options(o);
  ImportResult result;
  const std::vector<ImportPart> parts = open_parts(o, result.warnings);
  double done = 0, all = 0;
  const std::set<std::string> taken = taken_ids(o);
  for (const ImportPart& part : parts) {
    check_id(part.id, o, taken);
    result.problems.push_back(problem_of(o, part));
    for (const ImportInput& input : part.inputs) all += double(input.heads) * double(input.len);
  }
  CaptureWriter writer(o.out, o.append);
  const auto step = [&](std::size_t rows) {
    done += double(rows);
    if (progress && !progress(done / all)) throw Stopped("the import was stopped");
  };
  const std::string full = fmt::format("cannot write {}: is the disk full?", o.out);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const CaptureProblem& problem = result.problems[i];
    std::map<std::string, TensorLook> looks;
    try {
      writer.begin(problem);
      for (const ImportInput& input : parts[i].inputs)
        looks.emplace(input.name, copy_tensor(input, writer, problem.dtype, step));
    } catch (const h5::Error&) {
      throw WriteError(full);
    } catch (const WriteError&) {
      throw WriteError(full);  // instead of the name of a temporary file
    }
    const std::string whose = parts.size() > 1 ? problem.id + ": " : "";
    for (const auto& remarks :
         {layout_remarks(problem.shape, o.layout), value_remarks(looks, problem.shape, o.first_key, o.layout)})
      for (const std::string& remark : remarks) result.warnings.push_back(whose + remark);
  }
  writer.finish();
  return result;
}

}  // namespace salebench
