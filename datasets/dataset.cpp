#include "datasets/dataset.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "core/json_text.h"
#include "core/nearest.h"
#include "datasets/attributes.h"
#include "datasets/files/tensor_values.h"

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

/// One tensor as float32, checked to be finite.
std::vector<float> read_tensor(const h5::Group& group, const std::string& name, const h5::Extents& sizes) {
  std::vector<float> values = tensor_values(group, name);
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      throw DataError(fmt::format("{}{} holds {} at head {}, token {}, channel {}; capture the problem again",
                                  group.where(), name, values[i], i / (sizes[1] * sizes[2]), i / sizes[2] % sizes[1],
                                  i % sizes[2]));
  return values;
}

/// Of each head of [heads, len, dim] the rows from `first` on.
std::vector<float> without_first(std::vector<float> x, int heads, int len, int dim, int first) {
  if (first == 0) return x;
  std::vector<float> kept;
  kept.reserve(std::size_t(heads) * (len - first) * dim);
  for (std::ptrdiff_t head = 0; head < heads; ++head)
    kept.insert(kept.end(), x.begin() + (head * len + first) * dim, x.begin() + (head + 1) * len * dim);
  return kept;
}

/// The largest norm of a row of x [rows, dim].
double largest_norm(const std::vector<float>& x, int dim) {
  double most = 0;
  for (std::size_t row = 0; row < x.size(); row += std::size_t(dim))
    most = std::max(most, std::inner_product(&x[row], &x[row] + dim, &x[row], 0.0));
  return std::sqrt(most);
}

/// Throws DataError if a product of a query with a key, times what kernels scale it by, may leave float32.
void require_finite_logits(const ProblemTensors& p, const std::string& where) {
  const double most =
      largest_norm(p.q, p.shape.head_dim) * largest_norm(p.k, p.shape.head_dim) * std::max(1.0, 2.0 * p.scale);
  if (most < std::numeric_limits<float>::max()) return;
  throw DataError(
      fmt::format("{}: logits may reach {:.3g} (largest norm of a query times that of a key), which float32 "
                  "does not hold; capture the problem again or scale q and k down",
                  where, most));
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

/// Of at least `least`; `what` says what it should be.
int whole_attribute(const h5::Group& group, const std::string& name, int least, int otherwise, const char* what) {
  const double value = group.number_attribute(name, otherwise);
  if (!(value >= least) || value > (1 << 30) || value != std::floor(value))
    throw DataError(fmt::format("{}: {} is {}, not {}", group.where(), name, value, what));
  return int(value);
}

int count_attribute(const h5::Group& group, const std::string& name) {
  return whole_attribute(group, name, 0, 0, "a whole number of tokens; where there is no such thing, leave it out");
}

/// The named attributes that are texts or numbers, as JSON; "" for none.
std::string attributes_json(const h5::Group& group, const std::vector<std::string>& names) {
  nlohmann::json values = nlohmann::json::object();
  for (const std::string& name : names) {
    if (!group.has_attribute(name)) continue;
    if (const std::string text = group.string_attribute(name); !text.empty()) {
      values[name] = text;
      continue;
    }
    try {
      values[name] = group.number_attribute(name, 0);
    } catch (const h5::Error&) {
      values[name] = "not a text or a number";
    }
  }
  return values.empty() ? "" : json_text(values);
}

/// What attention the problem is; its shape becomes that of the keys that some row sees.
/// A sliding window hides keys from all rows where there are fewer queries than keys: as padding does, they would enter
/// means and maxima that methods take of keys.
void read_attention(const h5::Group& group, ProblemInfo& info) {
  const double causal = group.number_attribute("causal", 1);
  if (causal != 0 && causal != 1) throw DataError(fmt::format("{}: causal is {}, not 0 or 1", group.where(), causal));
  info.causal = causal == 1;
  info.scale = group.number_attribute("scale", 1 / std::sqrt(double(info.shape.head_dim)));
  if (!std::isfinite(info.scale) || info.scale <= 0)
    throw DataError(fmt::format("{}: scale is {}; it must be positive, and without it 1 / sqrt(head_dim) is taken",
                                group.where(), info.scale));
  info.sliding_window = count_attribute(group, "window");
  if (info.sliding_window > 0 && !info.causal)
    throw DataError(
        fmt::format("{}: a window of {} tokens in attention that is not causal: a window counts the keys up "
                    "to the row's own",
                    group.where(), info.sliding_window));
  info.softcap = group.number_attribute("softcap", 0);
  if (!std::isfinite(info.softcap) || info.softcap < 0)
    throw DataError(fmt::format("{}: softcap is {}; it must be positive, and is left out where there is none",
                                group.where(), info.softcap));
  info.sinks = group.has("sinks");
  info.first_key = count_attribute(group, "first_key");
  if (info.first_key >= info.shape.kv_len)
    throw DataError(fmt::format("{}: first_key is {}, so that all {} tokens are padding", group.where(), info.first_key,
                                info.shape.kv_len));
  info.shape.kv_len -= info.first_key;
  info.shape.q_len = std::min(info.shape.q_len, info.shape.kv_len);
  const int hidden = first_key_in_window(info.shape.offset(), info.sliding_window);
  info.first_key += hidden;
  info.shape.kv_len -= hidden;
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
    refuse_attention_attributes(root.attributes(), root.where());
    refuse_attention_attributes(problems.attributes(), problems.where());
    for (const std::string& id : problems.children()) {
      if (!is_utf8(id)) throw DataError(fmt::format("{}: the id of problem {} is not UTF-8", path, id));
      const h5::Group group = problems.open_group(id);
      const std::vector<std::string> unknown = check_attributes(group);
      unknown_names_.insert(unknown.begin(), unknown.end());
      problems_.push_back(read_info(group, id));
      for (const char* name : {"q", "k", "v"})
        refuse_attention_attributes(group.attributes(name), group.where() + name);
      problems_.back().attributes = attributes_json(group, unknown);
    }
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
  read_attention(group, info);
  info.dtype = tensor_dtype(group, "q");
  if (tensor_dtype(group, "k") != info.dtype || tensor_dtype(group, "v") != info.dtype) info.dtype = "mixed";
  info.layer = whole_attribute(group, "layer", -1, -1, "a layer, which count from 0; leave it out where it is unknown");
  info.model = utf8_text(group.string_attribute("model"));
  info.prompt = utf8_text(group.string_attribute("prompt"));
  info.source = utf8_text(group.string_attribute("source"));
  info.captured_utc = utf8_text(file_.root().string_attribute("created_utc"));
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
    throw DataError(fmt::format("problem {} has {} tokens{}, {} are asked for", info.id, shape.kv_len,
                                info.first_key > 0 ? fmt::format(" after {} that no row sees", info.first_key) : "",
                                view.length));
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

ProblemTensors Dataset::load(const std::string& id, LoadedKeys keys) const {
  const ProblemInfo& info = problem(id);
  ProblemTensors tensors;
  tensors.shape = info.shape;
  tensors.causal = info.causal;
  tensors.scale = float(info.scale);
  try {
    const h5::Group group = file_.root().open_group("problems").open_group(id);
    if (keys == LoadedKeys::kUnpadded) tensors.shape.kv_len += info.first_key - count_attribute(group, "first_key");
    tensors.sliding_window = info.sliding_window < tensors.shape.kv_len ? info.sliding_window : 0;
    const auto read = [&](const char* name, int heads, int len) {
      const h5::Extents stored = group.extents(name);
      return without_first(read_tensor(group, name, stored), heads, int(stored[1]), info.shape.head_dim,
                           int(stored[1]) - len);
    };
    tensors.q = read("q", info.shape.q_heads, info.shape.q_len);
    tensors.k = read("k", info.shape.kv_heads, tensors.shape.kv_len);
    tensors.v = read("v", info.shape.kv_heads, tensors.shape.kv_len);
    require_finite_logits(tensors, group.where());
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
    if (sizes != group.extents("q"))
      throw DataError(fmt::format("{}output is [{}], not as q", group.where(), fmt::join(sizes, ", ")));
    return without_first(read_tensor(group, "output", sizes), shape.q_heads, int(sizes[1]), shape.head_dim,
                         int(sizes[1]) - shape.q_len);
  } catch (const h5::Error& error) {
    throw DataError(error.what());
  }
}

std::string Dataset::output_dtype(const std::string& id) const {
  try {
    const h5::Group group = file_.root().open_group("problems").open_group(id);
    return group.has("output") ? tensor_dtype(group, "output") : "";
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
  taken.sliding_window = p.sliding_window < to.kv_len ? p.sliding_window : 0;
  taken.q = take_prefix(p.q, from.q_heads, from.q_len, from.head_dim, to.q_len, view.repeat);
  taken.k = take_prefix(p.k, from.kv_heads, from.kv_len, from.head_dim, to.kv_len, view.repeat);
  taken.v = take_prefix(p.v, from.kv_heads, from.kv_len, from.head_dim, to.kv_len, view.repeat);
  return taken;
}

}  // namespace salebench
