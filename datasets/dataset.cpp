#include "datasets/dataset.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "core/half.h"
#include "core/nearest.h"

namespace salebench {
namespace {

constexpr const char* kFormat = "salebench.capture";
constexpr int kFormatVersion = 1;

h5::File open_capture(const std::string& path) {
  try {
    return h5::File::open(path);
  } catch (const h5::Error& error) {
    throw DataError(error.what());
  }
}

/// One tensor as float32.
std::vector<float> read_values(const h5::Group& group, const std::string& name) {
  if (group.is_float32(name)) return group.read_float(name);
  bool is_float = true;
  const std::vector<std::uint16_t> bits = group.read_16bit(name, &is_float);
  if (!is_float && group.dataset_attribute(name, "dtype") != "bfloat16")
    throw DataError(fmt::format("{}{} is uint16 without the attribute dtype = bfloat16", group.where(), name));
  std::vector<float> values(bits.size());
  for (std::size_t i = 0; i < bits.size(); ++i)
    values[i] = is_float ? half_to_float(bits[i]) : bfloat16_to_float(bits[i]);
  return values;
}

/// One tensor as float32, checked to be finite.
std::vector<float> read_tensor(const h5::Group& group, const std::string& name, const h5::Extents& sizes) {
  std::vector<float> values = read_values(group, name);
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      throw DataError(fmt::format("{}{} holds {} at head {}, token {}, channel {}; capture the problem again",
                                  group.where(), name, values[i], i / (sizes[1] * sizes[2]), i / sizes[2] % sizes[1],
                                  i % sizes[2]));
  return values;
}

/// Appends the first `rows` rows of each head of [heads, len, dim], `repeat` times over.
std::vector<float> take_prefix(const std::vector<float>& x, int heads, int len, int dim, int rows, int repeat) {
  std::vector<float> taken;
  taken.reserve(std::size_t(repeat) * heads * rows * dim);
  for (int copy = 0; copy < repeat; ++copy)
    for (int head = 0; head < heads; ++head) {
      const auto begin = x.begin() + std::ptrdiff_t(head) * len * dim;
      taken.insert(taken.end(), begin, begin + std::ptrdiff_t(rows) * dim);
    }
  return taken;
}

}  // namespace

Dataset::Dataset(const std::string& path) : path_(path), file_(open_capture(path)) {
  const h5::Group& root = file_.root();
  const std::string format = root.string_attribute("format");
  if (format != kFormat)
    throw DataError(fmt::format("{} is not a capture: attribute format is '{}', not '{}'", path, format, kFormat));
  double version = 0;
  try {
    version = root.number_attribute("format_version", 0);
  } catch (const h5::Error& error) {
    throw DataError(error.what());
  }
  if (version != kFormatVersion)
    throw DataError(
        fmt::format("{} has capture format version {}, this program reads {}", path, version, kFormatVersion));
  try {
    const h5::Group problems = root.open_group("problems");
    for (const std::string& id : problems.children()) problems_.push_back(read_info(problems.open_group(id), id));
  } catch (const h5::Error& error) {
    throw DataError(error.what());
  }
  if (problems_.empty()) throw DataError(fmt::format("{} holds no problems", path));
}

ProblemInfo Dataset::read_info(const h5::Group& group, const std::string& id) const {
  ProblemInfo info;
  info.id = id;
  h5::Extents sizes[3];
  const char* names[3] = {"q", "k", "v"};
  for (int i = 0; i < 3; ++i) {
    sizes[i] = group.extents(names[i]);
    if (sizes[i].size() != 3)
      throw DataError(
          fmt::format("{}{} has {} dimensions, not [heads, len, head_dim]", group.where(), names[i], sizes[i].size()));
    for (const hsize_t size : sizes[i])
      if (size > hsize_t(1) << 30) throw DataError(fmt::format("{}{} is too large", group.where(), names[i]));
  }
  if (sizes[1] != sizes[2])
    throw DataError(fmt::format("{}k is [{}] but v is [{}]: they must be alike", group.where(),
                                fmt::join(sizes[1], ", "), fmt::join(sizes[2], ", ")));
  if (sizes[0][2] != sizes[1][2])
    throw DataError(fmt::format("{}q has head_dim {} but k has {}", group.where(), sizes[0][2], sizes[1][2]));
  info.shape = {int(sizes[0][0]), int(sizes[1][0]), int(sizes[0][1]), int(sizes[1][1]), int(sizes[0][2])};
  try {
    info.shape.check();
  } catch (const std::invalid_argument& error) {
    throw DataError(fmt::format("{}: {}", group.where(), error.what()));
  }
  info.causal = group.number_attribute("causal", 1) != 0;
  info.scale = group.number_attribute("scale", 0);
  if (info.scale == 0) info.scale = 1 / std::sqrt(double(info.shape.head_dim));
  if (!std::isfinite(info.scale) || info.scale < 0)
    throw DataError(fmt::format("{}: scale is {}", group.where(), info.scale));
  info.dtype = group.dataset_attribute("q", "dtype");
  if (info.dtype.empty()) info.dtype = group.is_float32("q") ? "float32" : "float16";
  info.window = int(group.number_attribute("window", 0));
  info.layer = int(group.number_attribute("layer", -1));
  info.model = group.string_attribute("model");
  info.prompt = group.string_attribute("prompt");
  info.source = group.string_attribute("source");
  info.captured_utc = file_.root().string_attribute("created_utc");
  return info;
}

const ProblemInfo& Dataset::problem(const std::string& id) const {
  std::vector<std::string> ids;
  for (const ProblemInfo& info : problems_) {
    if (info.id == id) return info;
    ids.push_back(info.id);
  }
  throw DataError(fmt::format("{} has no problem '{}'{}", path_, id, did_you_mean(id, ids)));
}

Shape Dataset::shape_of(const ProblemInfo& info, const ProblemView& view) {
  Shape shape = info.shape;
  if (view.length > shape.kv_len)
    throw DataError(fmt::format("problem {} has {} tokens, {} are asked for", info.id, shape.kv_len, view.length));
  if (view.length > 0) {
    if (view.length <= shape.offset())
      throw DataError(fmt::format("problem {}: its queries start at token {}, so a prefix of {} has none", info.id,
                                  shape.offset(), view.length));
    shape.q_len = view.length - shape.offset();
    shape.kv_len = view.length;
  }
  shape.q_heads *= view.repeat;
  shape.kv_heads *= view.repeat;
  return shape;
}

ProblemTensors Dataset::load(const std::string& id) const {
  const ProblemInfo& info = problem(id);
  ProblemTensors tensors;
  tensors.shape = info.shape;
  tensors.causal = info.causal;
  tensors.scale = float(info.scale);
  try {
    const h5::Group group = file_.root().open_group("problems").open_group(id);
    tensors.q = read_tensor(group, "q", group.extents("q"));
    tensors.k = read_tensor(group, "k", group.extents("k"));
    tensors.v = read_tensor(group, "v", group.extents("v"));
  } catch (const h5::Error& error) {
    throw DataError(error.what());
  }
  return tensors;
}

std::vector<float> Dataset::load_output(const std::string& id) const {
  const Shape& shape = problem(id).shape;
  try {
    const h5::Group group = file_.root().open_group("problems").open_group(id);
    if (!group.has("output")) return {};
    const h5::Extents sizes = group.extents("output");
    if (sizes != h5::Extents{hsize_t(shape.q_heads), hsize_t(shape.q_len), hsize_t(shape.head_dim)})
      throw DataError(fmt::format("{}output is [{}], not as q", group.where(), fmt::join(sizes, ", ")));
    return read_tensor(group, "output", sizes);
  } catch (const h5::Error& error) {
    throw DataError(error.what());
  }
}

ProblemTensors apply_view(const ProblemTensors& p, const ProblemView& view) {
  const Shape& from = p.shape;
  ProblemInfo info;
  info.shape = from;
  const Shape to = Dataset::shape_of(info, view);
  ProblemTensors taken;
  taken.shape = to;
  taken.causal = p.causal;
  taken.scale = p.scale;
  taken.q = take_prefix(p.q, from.q_heads, from.q_len, from.head_dim, to.q_len, view.repeat);
  taken.k = take_prefix(p.k, from.kv_heads, from.kv_len, from.head_dim, to.kv_len, view.repeat);
  taken.v = take_prefix(p.v, from.kv_heads, from.kv_len, from.head_dim, to.kv_len, view.repeat);
  return taken;
}

}  // namespace salebench
