#include "datasets/files/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "core/data_error.h"

namespace salebench {
namespace {

constexpr std::uint64_t kLongestHeader = 8 << 20;  // some 80,000 tensors
constexpr int kDeepestNesting = 4;                 // {"q": {"shape": [1, 2]}} is 3
constexpr std::size_t kMostDimensions = 32;

struct Entry {
  TensorInfo info;
  std::uint64_t begin = 0, end = 0;  ///< bytes after the header
};

ElementType element_type(const std::string& dtype) {
  if (dtype == "F16") return ElementType::kFloat16;
  if (dtype == "BF16") return ElementType::kBfloat16;
  if (dtype == "F32") return ElementType::kFloat32;
  if (dtype == "F64") return ElementType::kFloat64;
  return ElementType::kOther;
}

/// The JSON of the header. Deep nesting, which could exhaust memory, and names that are there twice are refused.
nlohmann::json parse_header(const std::string& text, const std::string& path) {
  using Json = nlohmann::json;
  std::set<std::string> names;
  const auto check = [&](int depth, Json::parse_event_t event, Json& value) {
    if (depth > kDeepestNesting) throw DataError(fmt::format("{}: the header is nested too deep", path));
    if (event == Json::parse_event_t::key && depth == 1 && !names.insert(value.get<std::string>()).second)
      throw DataError(fmt::format("{}: tensor '{}' is there twice", path, printable(value.get<std::string>())));
    return true;
  };
  try {
    Json header = Json::parse(text, check);
    if (!header.is_object()) throw DataError(fmt::format("{}: the header is not a JSON object", path));
    return header;
  } catch (const Json::exception&) {
    throw DataError(fmt::format("{} is not a .safetensors file, or damaged: its header is not JSON", path));
  }
}

/// The non-negative integers of a JSON array. Throws DataError.
std::vector<std::uint64_t> sizes_of(const nlohmann::json& tensor, const char* key, const std::string& where) {
  const auto found = tensor.find(key);
  if (found == tensor.end() || !found->is_array() || found->size() > kMostDimensions)
    throw DataError(fmt::format("{}: no list of sizes under {}", where, key));
  std::vector<std::uint64_t> sizes;
  for (const nlohmann::json& size : *found) {
    if (!size.is_number_unsigned()) throw DataError(fmt::format("{}: {} holds what is no size", where, key));
    sizes.push_back(size.get<std::uint64_t>());
  }
  return sizes;
}

Entry read_entry(const std::string& name, const nlohmann::json& tensor, const std::string& path) {
  const std::string where = fmt::format("{}, tensor '{}'", path, printable(name));
  if (!tensor.is_object()) throw DataError(fmt::format("{}: not described by an object", where));
  Entry entry;
  const auto dtype = tensor.find("dtype");
  if (dtype == tensor.end() || !dtype->is_string()) throw DataError(fmt::format("{}: dtype is missing", where));
  entry.info = {name, element_type(*dtype), *dtype, sizes_of(tensor, "shape", where)};
  const std::vector<std::uint64_t> offsets = sizes_of(tensor, "data_offsets", where);
  if (offsets.size() != 2 || offsets[0] > offsets[1])
    throw DataError(fmt::format("{}: data_offsets is not [begin, end]", where));
  entry.begin = offsets[0];
  entry.end = offsets[1];
  if (entry.info.type != ElementType::kOther) {
    const std::uint64_t want = byte_count(entry.info.shape, size_of(entry.info.type), where);
    if (want != entry.end - entry.begin)
      throw DataError(fmt::format("{} is damaged: its shape takes {} bytes, its data_offsets span {}", where, want,
                                  entry.end - entry.begin));
  }
  return entry;
}

class SafetensorsFile : public TensorFile {
 public:
  explicit SafetensorsFile(const std::string& path) : TensorFile(path), bytes_(open_bytes(path)) {
    std::array<std::byte, 8> start{};
    bytes_->read(0, start);
    const auto length = little_endian<std::uint64_t>(start);
    const std::uint64_t rest = bytes_->size() - start.size();
    if (length > rest)
      throw DataError(fmt::format(
          "{} is not a .safetensors file, or truncated: its header takes {} bytes, {} are there", path, length, rest));
    if (length > kLongestHeader) throw DataError(fmt::format("{}: a header of {} bytes is too long", path, length));
    std::string text(length, '\0');
    bytes_->read(start.size(), std::as_writable_bytes(std::span(text)));
    data_begin_ = start.size() + length;
    const nlohmann::json header = parse_header(text, path);
    for (const auto& [name, tensor] : header.items())
      if (name != "__metadata__") entries_.push_back(read_entry(name, tensor, path));
    check_layout(rest - length);
    std::vector<std::string> names;
    for (const Entry& entry : entries_) names.push_back(entry.info.name);
    set_names(std::move(names));
  }

  TensorInfo info(std::size_t index) override { return entries_.at(index).info; }
  std::shared_ptr<ByteSource> data(std::size_t index) override {
    const Entry& entry = entries_.at(index);
    return part_of(bytes_, path(), data_begin_ + entry.begin, entry.end - entry.begin);
  }

 private:
  /// The tensors must cover `size` bytes of data, one after the other.
  void check_layout(std::uint64_t size) const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
    for (const Entry& entry : entries_) ranges.emplace_back(entry.begin, entry.end);
    std::ranges::sort(ranges);
    std::uint64_t end = 0;
    for (const auto& [from, to] : ranges) {
      if (from != end) throw DataError(fmt::format("{} is damaged: its tensors overlap or leave gaps", path()));
      end = to;
    }
    if (end != size)
      throw DataError(fmt::format("{} is {}: its tensors take {} bytes, {} are there", path(),
                                  size < end ? "truncated" : "damaged", end, size));
  }

  std::shared_ptr<ByteSource> bytes_;
  std::uint64_t data_begin_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace

std::unique_ptr<TensorFile> open_safetensors(const std::string& path) {
  return std::make_unique<SafetensorsFile>(path);
}

}  // namespace salebench
