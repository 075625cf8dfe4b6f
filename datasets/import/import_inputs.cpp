#include "datasets/import/import_inputs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <stdexcept>

#include "core/nearest.h"
#include "datasets/dataset.h"

namespace salebench {
namespace {

constexpr std::array<const char*, 3> kTensors = {"q", "k", "v"};
constexpr std::array<const char*, 3> kLongNames = {"query", "key", "value"};
constexpr std::uint64_t kLongestAxis = 1 << 30;
constexpr std::uint64_t kLargestHeadDim = 1 << 16;

using Keys = std::map<std::string, std::string>;

/// The tensor of a file that has one of the names; with `or_only`, also the only one that there is. Throws DataError
/// with near names, where `option` is what tells the right one.
std::size_t find_tensor(const TensorFile& file, const std::vector<std::string>& wanted, const std::string& option,
                        bool or_only) {
  const std::vector<std::string>& names = file.names();
  if (or_only && names.size() == 1) return 0;
  for (const std::string& want : wanted)
    if (const auto found = std::ranges::find(names, want); found != names.end())
      return std::size_t(found - names.begin());
  // Names come from the file: show few, and none that is very long.
  std::vector<std::string> known;
  for (std::size_t i = 0; i < names.size() && known.size() < 20; ++i)
    if (!names[i].empty() && names[i].size() <= 100) known.push_back(printable(names[i]));
  if (wanted.size() == 1)
    throw DataError(fmt::format("{} has no tensor '{}'{}", file.path(), wanted[0], did_you_mean(wanted[0], known)));
  throw DataError(fmt::format("{} has no tensor '{}' (known: {}); {} tells which one it is", file.path(),
                              fmt::join(wanted, "' or '"), fmt::join(known, ", "), option));
}

/// Heads, length and head_dim of a tensor by the layout. Throws DataError.
void apply_layout(const ImportOptions& o, ImportInput& input) {
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

/// The model's own output: a file of one tensor or of one named so, or else a tensor of the one input file.
ImportInput open_output(const ImportOptions& o, const std::shared_ptr<TensorFile>& only_file) {
  std::error_code ignored;
  if (only_file && !std::filesystem::exists(o.output, ignored))
    return make_input(o, "output", only_file, find_tensor(*only_file, {o.output}, "--output", false));
  const std::shared_ptr<TensorFile> file = open_tensor_file(o.output);
  return make_input(o, "output", file, find_tensor(*file, {"output", "out", "o"}, "--output", true));
}

}  // namespace

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

ImportInput make_input(const ImportOptions& o, std::string name, std::shared_ptr<TensorFile> file, std::size_t index) {
  ImportInput input;
  input.name = std::move(name);
  input.file = std::move(file);
  input.index = index;
  input.info = input.file->info(index);
  if (input.info.type == ElementType::kOther || input.info.type == ElementType::kBool)
    throw DataError(fmt::format("{} is of type {}; float16, bfloat16, float32 and float64 are imported", input.where(),
                                printable(input.info.type_name)));
  apply_layout(o, input);
  return input;
}

std::string ImportInput::where() const {
  return fmt::format("{}, tensor {}{}", file->path(), name,
                     info.name.empty() || info.name == name ? "" : " ('" + printable(info.name) + "')");
}

std::vector<ImportInput> open_inputs(const ImportOptions& o) {
  const Keys keys = parse_keys(o.keys);
  std::vector<std::shared_ptr<TensorFile>> files;
  for (const std::string& path : o.inputs) files.push_back(open_tensor_file(path));
  std::vector<ImportInput> inputs;
  for (std::size_t i = 0; i < kTensors.size(); ++i) {
    const std::shared_ptr<TensorFile>& file = files[files.size() == 1 ? 0 : i];
    const auto named = keys.find(kTensors[i]);
    const std::vector<std::string> wanted =
        named != keys.end() ? std::vector{named->second} : std::vector<std::string>{kTensors[i], kLongNames[i]};
    const std::size_t index = find_tensor(*file, wanted, fmt::format("--keys {}=NAME", kTensors[i]),
                                          files.size() == 3 && named == keys.end());
    inputs.push_back(make_input(o, kTensors[i], file, index));
  }
  if (!o.output.empty()) inputs.push_back(open_output(o, files.size() == 1 ? files[0] : nullptr));
  return inputs;
}

Shape problem_shape(const std::vector<ImportInput>& inputs, const std::string& layout) {
  const ImportInput &q = inputs[0], &k = inputs[1], &v = inputs[2];
  const auto sizes = [](const ImportInput& x) {
    return fmt::format("{} heads x {} tokens x {}", x.heads, x.len, x.dim);
  };
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
  for (const ImportInput& x : inputs)
    if (x.name == "output" && (x.heads != q.heads || x.len != q.len || x.dim != q.dim))
      throw DataError(fmt::format("{} is {}, but q is {}: the output must be shaped as q, in the same layout, {}",
                                  x.where(), sizes(x), sizes(q), layout));
  return shape;
}

}  // namespace salebench
