#include "core/hdf5_numbers.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "core/half.h"

namespace salebench::h5 {
namespace {

struct FloatLayout {
  FloatType type;
  const char* name;
  std::size_t size, exponent_bits, mantissa_bits, bias;
};

constexpr std::array<FloatLayout, 4> kLayouts = {{{FloatType::kFloat16, "float16", 2, 5, 10, 15},
                                                  {FloatType::kBfloat16, "bfloat16", 2, 8, 7, 127},
                                                  {FloatType::kFloat32, "float32", 4, 8, 23, 127},
                                                  {FloatType::kFloat64, "float64", 8, 11, 52, 1023}}};

struct Fields {
  std::size_t sign_at = 0, exponent_at = 0, exponent_bits = 0, mantissa_at = 0, mantissa_bits = 0;
};

Fields fields_of(hid_t type) {
  Fields f;
  H5Tget_fields(type, &f.sign_at, &f.exponent_at, &f.exponent_bits, &f.mantissa_at, &f.mantissa_bits);
  return f;
}

bool has_layout(hid_t type, const FloatLayout& layout) {
  const Fields f = fields_of(type);
  return H5Tget_size(type) == layout.size && H5Tget_precision(type) == 8 * layout.size && H5Tget_offset(type) == 0 &&
         f.mantissa_at == 0 && f.mantissa_bits == layout.mantissa_bits && f.exponent_at == layout.mantissa_bits &&
         f.exponent_bits == layout.exponent_bits && f.sign_at == layout.mantissa_bits + layout.exponent_bits &&
         H5Tget_ebias(type) == layout.bias && H5Tget_norm(type) == H5T_NORM_IMPLIED;
}

std::string float_text(hid_t type) {
  const auto stored = stored_float(type);
  const Fields f = fields_of(type);
  if (!stored)
    return fmt::format("a float of {} bytes with {} bits of exponent (bias {}) and {} of mantissa", H5Tget_size(type),
                       f.exponent_bits, H5Tget_ebias(type), f.mantissa_bits);
  for (const FloatLayout& layout : kLayouts)
    if (layout.type == stored->type) return layout.name;
  return "";
}

template <class Word>
Word word(const std::byte* bytes, bool big_endian) {
  Word value;
  std::memcpy(&value, bytes, sizeof value);
  if (big_endian == (std::endian::native == std::endian::big)) return value;
  if constexpr (sizeof(Word) == 2) return __builtin_bswap16(value);
  if constexpr (sizeof(Word) == 4) return __builtin_bswap32(value);
  return Word(__builtin_bswap64(value));
}

template <class Word, class Value, class Convert>
void decode_words(bool big_endian, std::span<const std::byte> bytes, std::span<Value> values, const Convert& convert) {
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = convert(word<Word>(bytes.data() + i * sizeof(Word), big_endian));
}

template <class Value>
void decode_any(StoredFloat from, std::span<const std::byte> bytes, std::span<Value> values) {
  const bool big = from.big_endian;
  switch (from.type) {
    case FloatType::kFloat16:
      return decode_words<std::uint16_t>(big, bytes, values, half_to_float);
    case FloatType::kBfloat16:
      return decode_words<std::uint16_t>(big, bytes, values, bfloat16_to_float);
    case FloatType::kFloat32:
      return decode_words<std::uint32_t>(big, bytes, values, [](std::uint32_t x) { return std::bit_cast<float>(x); });
    case FloatType::kFloat64:
      if constexpr (sizeof(Value) == 8)
        return decode_words<std::uint64_t>(big, bytes, values,
                                           [](std::uint64_t x) { return std::bit_cast<double>(x); });
  }
  throw std::logic_error("float64 values are not decoded to float");
}

}  // namespace

std::size_t StoredFloat::size() const {
  return kLayouts[std::size_t(type)].size;
}

std::optional<StoredFloat> stored_float(hid_t type) {
  if (H5Tget_class(type) != H5T_FLOAT) return std::nullopt;
  const H5T_order_t order = H5Tget_order(type);
  if (order != H5T_ORDER_LE && order != H5T_ORDER_BE) return std::nullopt;
  for (const FloatLayout& layout : kLayouts)
    if (has_layout(type, layout)) return StoredFloat{layout.type, order == H5T_ORDER_BE};
  return std::nullopt;
}

std::string type_text(hid_t type) {
  const std::size_t size = H5Tget_size(type);
  switch (H5Tget_class(type)) {
    case H5T_FLOAT:
      return float_text(type);
    case H5T_INTEGER:
      return fmt::format("{}int{}", H5Tget_sign(type) == H5T_SGN_NONE ? "u" : "", 8 * size);
    case H5T_STRING:
      return "text";
    case H5T_OPAQUE:
      return fmt::format("{} bytes of no type", size);
    case H5T_ENUM:
      return fmt::format("an enumeration of {} bytes", size);
    case H5T_COMPOUND:
      return "a compound type";
    default:
      return "not a number";
  }
}

void decode(StoredFloat from, std::span<const std::byte> bytes, std::span<float> values) {
  decode_any(from, bytes, values);
}
void decode(StoredFloat from, std::span<const std::byte> bytes, std::span<double> values) {
  decode_any(from, bytes, values);
}

}  // namespace salebench::h5
