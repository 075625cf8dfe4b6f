#include "datasets/files/tensor_values.h"

#include <fmt/format.h>

#include "core/data_error.h"
#include "core/half.h"

namespace salebench {
namespace {

constexpr const char* kTwoBytes = "2 bytes of no type";

bool is_plain(const std::string& type) {
  return type == "float16" || type == "bfloat16" || type == "float32";
}

}  // namespace

std::string tensor_dtype(const h5::Group& group, const std::string& name) {
  std::string type = group.type_of(name);
  const std::string said = group.dataset_attribute(name, "dtype");
  const auto refuse = [&](const std::string& what) {
    return DataError(fmt::format("{}: '{}' is {}", group.where(), name, what));
  };
  if (is_plain(type)) {
    if (is_plain(said) && said != type) throw refuse(fmt::format("{}, but its attribute dtype says {}", type, said));
    return type;
  }
  const bool is_tagged = group.opaque_tag(name).find("bfloat16") != std::string::npos;
  if (type != "uint16" && type != kTwoBytes)
    throw refuse(type + ", which is neither float16, bfloat16 nor float32; bfloat16 may also be bits in uint16");
  if (said != "bfloat16" && !is_tagged)
    throw refuse(type + "; if it holds bits of bfloat16, set its attribute dtype to 'bfloat16'");
  return "bfloat16";
}

std::vector<float> tensor_values(const h5::Group& group, const std::string& name) {
  tensor_dtype(group, name);
  const std::string type = group.type_of(name);
  if (is_plain(type)) return group.read_float(name);
  std::vector<float> values;
  if (type == "uint16") {
    for (const std::uint16_t bits : group.read_uint16(name)) values.push_back(bfloat16_to_float(bits));
    return values;
  }
  const std::vector<std::byte> bytes = group.read_opaque(name);  // as a little-endian NumPy writes them
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2)
    values.push_back(bfloat16_to_float(std::uint16_t(unsigned(bytes[i]) | unsigned(bytes[i + 1]) << 8)));
  return values;
}

}  // namespace salebench
