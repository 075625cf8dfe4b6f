#include "datasets/files/npy.h"

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <charconv>
#include <optional>

#include "core/data_error.h"

namespace salebench {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kLongestHeader = 1 << 16;  // NumPy refuses more than 10,000 characters
constexpr std::size_t kMostDimensions = 32;

/// Reads the literal that np.save writes: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4), }.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  struct Header {
    std::optional<std::string> descr;
    std::optional<bool> fortran_order;
    std::optional<std::vector<std::uint64_t>> shape;
  };

  Header parse() {
    Header header;
    expect('{');
    while (!accept('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr" && !header.descr) {
        header.descr = descr();
      } else if (key == "fortran_order" && !header.fortran_order) {
        header.fortran_order = boolean();
      } else if (key == "shape" && !header.shape) {
        header.shape = shape();
      } else {
        fail(fmt::format("key '{}' is unknown or there twice", printable(key)));
      }
      if (!accept(',') && peek() != '}') fail("a comma is missing");
    }
    if (peek() != '\0') fail("there is text after it");
    if (!header.descr || !header.fortran_order || !header.shape) fail("descr, fortran_order or shape is missing");
    return header;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(fmt::format("{}: the .npy header is damaged: {}", where_, what));
  }

  /// The next character after blanks, '\0' at the end.
  char peek() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool accept(char wanted) {
    if (peek() != wanted) return false;
    ++at_;
    return true;
  }

  void expect(char wanted) {
    if (peek() == '\0' || !accept(wanted)) fail(fmt::format("no '{}' at character {}", wanted, at_));
  }

  std::string string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') fail(fmt::format("no text at character {}", at_));
    const std::size_t end = text_.find(quote, ++at_);
    if (end == std::string_view::npos) fail("a text has no end");
    std::string value(text_.substr(at_, end - at_));
    at_ = end + 1;
    return value;
  }

  std::string descr() {
    if (peek() == '[') throw DataError(fmt::format("{} holds a structured array; save each tensor by itself", where_));
    return string();
  }

  bool boolean() {
    for (const auto& [word, value] : {std::pair<std::string_view, bool>{"True", true}, {"False", false}}) {
      peek();
      if (text_.substr(at_).starts_with(word)) {
        at_ += word.size();
        return value;
      }
    }
    fail("fortran_order is neither True nor False");
  }

  std::vector<std::uint64_t> shape() {
    std::vector<std::uint64_t> sizes;
    expect('(');
    while (!accept(')')) {
      if (sizes.size() == kMostDimensions) fail("the shape has too many dimensions");
      peek();
      std::uint64_t size = 0;
      const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), size);
      if (error != std::errc()) fail("the shape holds what is no size");
      at_ = std::size_t(end - text_.data());
      accept('L');  // as Python 2 wrote it
      sizes.push_back(size);
      if (!accept(',') && peek() != ')') fail("a comma is missing in the shape");
    }
    return sizes;
  }

  std::string_view text_;
  const std::string& where_;
  std::size_t at_ = 0;
};

ElementType element_type(const std::string& descr, const std::string& where) {
  if (descr == "<f2") return ElementType::kFloat16;
  if (descr == "<f4") return ElementType::kFloat32;
  if (descr == "<f8") return ElementType::kFloat64;
  if (descr == "|b1") return ElementType::kBool;
  if (descr == "<V2" || descr == "|V2") return ElementType::kBfloat16;
  if (descr.starts_with('>') && descr.size() > 1 && descr[1] == 'f')
    throw DataError(fmt::format("{} is big-endian ({}); save it with tensor.astype('<{}')", where, printable(descr),
                                printable(descr.substr(1))));
  return ElementType::kOther;
}

class NpyFile : public TensorFile {
 public:
  explicit NpyFile(const std::string& path) : TensorFile(path), bytes_(open_bytes(path)) {
    array_ = read_npy(*bytes_, path);
    set_names({""});
  }
  TensorInfo info(std::size_t) override { return array_.info; }
  std::shared_ptr<ByteSource> data(std::size_t) override {
    return part_of(bytes_, path(), array_.data_begin, bytes_->size() - array_.data_begin);
  }

 private:
  std::shared_ptr<ByteSource> bytes_;
  NpyArray array_;
};

}  // namespace

NpyArray read_npy(ByteSource& bytes, const std::string& where) {
  std::array<std::byte, 12> start{};
  bytes.read(0, std::span(start).first(10));
  if (std::string_view(reinterpret_cast<const char*>(start.data()), kMagic.size()) != kMagic)
    throw DataError(fmt::format("{} is not a .npy: it does not begin with \\x93NUMPY", where));
  const int version = int(start[6]);
  if (version < 1 || version > 3) throw DataError(fmt::format("{} has .npy version {}, not 1 to 3", where, version));
  if (version > 1) bytes.read(0, start);
  const std::size_t begin = version > 1 ? 12 : 10;
  const std::size_t length =
      version > 1 ? little_endian<std::uint32_t>(start, 8) : little_endian<std::uint16_t>(start, 8);
  if (length > kLongestHeader) throw DataError(fmt::format("{}: a .npy header of {} bytes is too long", where, length));

  std::string text(length, '\0');
  bytes.read(begin, std::as_writable_bytes(std::span(text)));
  const HeaderParser::Header header = HeaderParser(text, where).parse();
  NpyArray array;
  array.info.type_name = *header.descr;
  array.info.type = element_type(*header.descr, where);
  array.info.shape = *header.shape;
  array.data_begin = begin + length;
  if (*header.fortran_order)
    throw DataError(fmt::format("{} is in Fortran order; save it with np.ascontiguousarray(tensor)", where));
  if (array.info.type == ElementType::kOther) return array;
  const std::uint64_t want = byte_count(array.info.shape, size_of(array.info.type), where);
  const std::uint64_t have = bytes.size() - array.data_begin;
  if (want != have)
    throw DataError(fmt::format("{} is {}: its header tells of {} bytes of data, {} are there", where,
                                have < want ? "truncated" : "damaged", want, have));
  return array;
}

std::unique_ptr<TensorFile> open_npy(const std::string& path) {
  return std::make_unique<NpyFile>(path);
}

}  // namespace salebench
