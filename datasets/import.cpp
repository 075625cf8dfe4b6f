#include "datasets/import.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <map>
#include <stdexcept>

#include "core/atomic_file.h"
#include "core/nearest.h"
#include "datasets/dataset.h"
#include "datasets/tensor_file.h"

namespace salebench {
namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, 3> kTensors = {"q", "k", "v"};
constexpr std::array<const char*, 3> kLongNames = {"query", "key", "value"};
constexpr std::uint64_t kLongestAxis = 1 << 30;
constexpr std::uint64_t kLargestHeadDim = 1 << 16;
constexpr std::size_t kPieceValues = 1 << 20;

/// One of q, k and v within its file.
struct Input {
  std::string name;  ///< "q", "k" or "v"
  std::shared_ptr<TensorFile> file;
  std::size_t index = 0;  ///< in file->names()
  TensorInfo info;
  std::uint64_t heads = 0, len = 0, dim = 0;
  bool heads_first = true;  ///< [heads, len, dim], else [len, heads, dim]
  std::uint64_t first = 0;  ///< element that the batch begins with

  std::string where() const {
    return fmt::format("{}, tensor {}{}", file->path(), name,
                       info.name.empty() || info.name == name ? "" : " ('" + printable(info.name) + "')");
  }
};

using Keys = std::map<std::string, std::string>;

/// "q=model.q,k=model.k". Throws std::invalid_argument.
Keys parse_keys(const std::string& text) {
  Keys keys;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const std::string part = text.substr(at, end - at);
    const std::size_t equals = part.find('=');
    const std::string tensor = part.substr(0, equals);
    if (equals == std::string::npos || equals + 1 == part.size() || std::ranges::count(kTensors, tensor) == 0 ||
        !keys.emplace(tensor, part.substr(equals + 1)).second)
      throw std::invalid_argument(fmt::format("--keys: '{}' is not one of q=NAME, k=NAME and v=NAME", part));
    at = end + 1;
  }
  return keys;
}

void check_options(const ImportOptions& o) {
  if (o.inputs.size() != 1 && o.inputs.size() != 3)
    throw std::invalid_argument(
        fmt::format("import takes one file with q, k and v, or three files in this order, not {}", o.inputs.size()));
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
  if (o.out.empty()) throw std::invalid_argument("no output file");
  std::error_code ignored;
  for (const std::string& input : o.inputs)
    if (fs::equivalent(input, o.out, ignored))
      throw std::invalid_argument(fmt::format("{} is both input and output", o.out));
  if (fs::exists(o.out, ignored) && !o.force)
    throw std::invalid_argument(fmt::format("{} exists; --force overwrites it", o.out));
}

/// The id as HDF5 can name a group. Throws std::invalid_argument.
std::string problem_id(const ImportOptions& o) {
  std::string id = !o.id.empty() ? o.id : fs::path(o.inputs.size() == 1 ? o.inputs[0] : o.out).stem().string();
  if (id.empty() || id == "." || id.find('/') != std::string::npos)
    throw std::invalid_argument(fmt::format("'{}' can't be the id of a problem; --id gives another", id));
  return id;
}

/// Which tensor of the file is q, k or v. Throws DataError with near names.
std::size_t find_tensor(const TensorFile& file, const std::string& name, const std::string& long_name, const Keys& keys,
                        bool one_each) {
  const std::vector<std::string>& names = file.names();
  const auto named = keys.find(name);
  if (named == keys.end() && one_each && names.size() == 1) return 0;
  const std::vector<std::string> wanted =
      named != keys.end() ? std::vector{named->second} : std::vector{name, long_name};
  for (const std::string& want : wanted)
    if (const auto found = std::ranges::find(names, want); found != names.end())
      return std::size_t(found - names.begin());
  // Names come from the file: show few, and none that is very long.
  std::vector<std::string> known;
  for (std::size_t i = 0; i < names.size() && known.size() < 20; ++i)
    if (!names[i].empty() && names[i].size() <= 100) known.push_back(printable(names[i]));
  if (named != keys.end())
    throw DataError(fmt::format("{} has no tensor '{}'{}", file.path(), wanted[0], did_you_mean(wanted[0], known)));
  throw DataError(fmt::format("{} has no tensor '{}' or '{}' (known: {}); --keys {}=NAME tells which one it is",
                              file.path(), name, long_name, fmt::join(known, ", "), name));
}

/// Heads, length and head_dim of a tensor by the layout. Throws DataError.
void apply_layout(const ImportOptions& o, Input& input) {
  const std::vector<std::uint64_t>& shape = input.info.shape;
  const bool batched = o.layout.size() == 4;
  const std::string found = fmt::format("{} is [{}]", input.where(), fmt::join(shape, ", "));
  if (shape.size() != o.layout.size())
    throw DataError(fmt::format("{}, which is not of layout {}{}", found, o.layout,
                                shape.size() == 4   ? "; --layout bhld or blhd takes one of a batch"
                                : shape.size() == 3 ? "; --layout hld or lhd has no batch"
                                                    : ""));
  for (const std::uint64_t size : shape)
    if (size == 0 || size > kLongestAxis) throw DataError(fmt::format("{}: it is empty or too large", found));
  input.heads_first = o.layout.ends_with("hld");
  const std::size_t axis = batched ? 1 : 0;
  input.heads = shape[input.heads_first ? axis : axis + 1];
  input.len = shape[input.heads_first ? axis + 1 : axis];
  input.dim = shape[axis + 2];
  if (input.dim > kLargestHeadDim) throw DataError(fmt::format("{}: head_dim {} is too large", found, input.dim));
  if (batched) {
    if (std::uint64_t(o.batch) >= shape[0])
      throw DataError(fmt::format("{}: there is no batch {}, they count from 0", found, o.batch));
    input.first = std::uint64_t(o.batch) * input.heads * input.len * input.dim;
  }
}

std::vector<Input> open_inputs(const ImportOptions& o) {
  const Keys keys = parse_keys(o.keys);
  std::vector<std::shared_ptr<TensorFile>> files;
  for (const std::string& path : o.inputs) files.push_back(open_tensor_file(path));
  std::vector<Input> inputs;
  for (std::size_t i = 0; i < kTensors.size(); ++i) {
    Input input;
    input.name = kTensors[i];
    input.file = files[files.size() == 1 ? 0 : i];
    input.index = find_tensor(*input.file, input.name, kLongNames[i], keys, files.size() == 3);
    input.info = input.file->info(input.index);
    if (input.info.type == ElementType::kOther || input.info.type == ElementType::kBool)
      throw DataError(fmt::format("{} is of type {}; float16, bfloat16, float32 and float64 are imported",
                                  input.where(), printable(input.info.type_name)));
    apply_layout(o, input);
    inputs.push_back(std::move(input));
  }
  return inputs;
}

/// The shape of the problem. Throws DataError where the three tensors don't belong together.
Shape problem_shape(const Input& q, const Input& k, const Input& v, const std::string& layout) {
  const auto sizes = [](const Input& x) { return fmt::format("{} heads x {} tokens x {}", x.heads, x.len, x.dim); };
  const auto misfit = [&](const std::string& what) {
    return DataError(
        fmt::format("{} (q is {}, k is {}, v is {}; is the layout {}?)", what, sizes(q), sizes(k), sizes(v), layout));
  };
  if (k.heads != v.heads || k.len != v.len || k.dim != v.dim) throw misfit("k and v must be alike");
  if (q.dim != k.dim) throw misfit("q and k must have the same head_dim");
  const Shape shape = {int(q.heads), int(k.heads), int(q.len), int(k.len), int(q.dim)};
  try {
    shape.check();
  } catch (const std::invalid_argument& error) {
    throw misfit(error.what());
  }
  return shape;
}

/// Checks a piece of a tensor and rounds it; its rows begin with row `first` in the order of the file.
std::vector<std::uint16_t> round_piece(const Input& input, std::uint64_t first, std::span<const float> values,
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
void write_piece(CaptureWriter& writer, const Input& input, std::uint64_t first, std::span<const std::uint16_t> bits) {
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

/// Reads, checks and writes one tensor. `step` hears of every piece's rows.
template <class Step>
void copy_tensor(const Input& input, CaptureWriter& writer, const std::string& dtype, const Step& step) {
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
    write_piece(writer, input, row, round_piece(input, row, values, dtype));
    step(count);
  }
  data->finish();
}

}  // namespace

CaptureProblem import_capture(const ImportOptions& o, const ProgressCall& progress) {
  check_options(o);
  CaptureProblem problem;
  problem.id = problem_id(o);
  const std::vector<Input> inputs = open_inputs(o);
  problem.shape = problem_shape(inputs[0], inputs[1], inputs[2], o.layout);
  const bool all_bfloat16 =
      std::ranges::all_of(inputs, [](const Input& input) { return input.info.type == ElementType::kBfloat16; });
  problem.dtype = !o.dtype.empty() ? o.dtype : all_bfloat16 ? "bfloat16" : "float16";
  problem.causal = o.causal;
  problem.scale = o.scale;
  problem.layer = o.layer;
  problem.texts = {{"model", o.model}, {"source", o.source}};

  CaptureWriter writer(o.out);
  double done = 0, all = 0;
  for (const Input& input : inputs) all += double(input.heads) * double(input.len);
  const auto step = [&](std::size_t rows) {
    done += double(rows);
    if (progress && !progress(done / all)) throw Stopped("the import was stopped");
  };
  const std::string full = fmt::format("cannot write {}: is the disk full?", o.out);
  try {
    writer.begin(problem);
    for (const Input& input : inputs) copy_tensor(input, writer, problem.dtype, step);
  } catch (const h5::Error&) {
    throw WriteError(full);
  } catch (const WriteError&) {
    throw WriteError(full);  // instead of the name of a temporary file
  }
  writer.finish();
  return problem;
}

}  // namespace salebench
