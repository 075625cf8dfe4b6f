// .npy, .npz and .safetensors files made by hand, byte by byte, from problems of the tests.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/half.h"
#include "core/problem.h"
#include "datasets/files/tensor_file.h"
#include "tests/problems.h"

namespace salebench {

/// A number as little-endian bytes.
template <class T>
std::string le(T value) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof(T); ++i) bytes += char(std::uint64_t(value) >> (8 * i) & 0xff);
  return bytes;
}

/// Values as the bytes of "f2", "f4", "f8" or "bf16".
inline std::string encode(const std::vector<float>& values, const std::string& type) {
  std::string bytes;
  for (const float x : values) {
    if (type == "f2") bytes += le(float_to_half(x));
    if (type == "bf16") bytes += le(float_to_bfloat16(x));
    if (type == "f4") bytes += le(std::bit_cast<std::uint32_t>(x));
    if (type == "f8") bytes += le(std::bit_cast<std::uint64_t>(double(x)));
  }
  return bytes;
}

/// A tensor to write: [heads, len, dim] values and the axes that the file shall have.
struct TestTensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::vector<float> values;
};

/// q, k and v in one of the import's layouts. In a batch of two, the other one holds nothing but NaN.
inline std::vector<TestTensor> tensors_of(const ProblemTensors& p, const std::string& layout = "hld", int batch = 0) {
  std::vector<TestTensor> tensors;
  const std::size_t dim = std::size_t(p.shape.head_dim);
  const auto add = [&](const char* name, const std::vector<float>& x, std::size_t heads, std::size_t len) {
    TestTensor t = {name, {heads, len, dim}, x};
    if (layout.ends_with("lhd")) {
      t.shape = {len, heads, dim};
      for (std::size_t i = 0; i < x.size(); ++i)
        t.values[(i / dim % len * heads + i / dim / len) * dim + i % dim] = x[i];
    }
    if (layout.starts_with('b')) {
      t.shape.insert(t.shape.begin(), 2);
      t.values.insert(batch == 0 ? t.values.end() : t.values.begin(), x.size(), std::nanf(""));
    }
    tensors.push_back(std::move(t));
  };
  add("q", p.q, std::size_t(p.shape.q_heads), std::size_t(p.shape.q_len));
  add("k", p.k, std::size_t(p.shape.kv_heads), std::size_t(p.shape.kv_len));
  add("v", p.v, std::size_t(p.shape.kv_heads), std::size_t(p.shape.kv_len));
  return tensors;
}

/// A .npy with this header text.
inline std::string npy_with_header(std::string header, const std::string& data, int version = 1) {
  const std::size_t prefix = version == 1 ? 10 : 12;
  while ((prefix + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  const std::string length = version == 1 ? le(std::uint16_t(header.size())) : le(std::uint32_t(header.size()));
  return "\x93NUMPY" + std::string(1, char(version)) + '\0' + length + header + data;
}

inline std::string npy(const TestTensor& t, const std::string& type, int version = 1) {
  const std::string descr = type == "bf16" ? "<V2" : "<" + type;
  return npy_with_header(
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({},), }}", descr, fmt::join(t.shape, ", ")),
      encode(t.values, type), version);
}

/// A .safetensors with this JSON.
inline std::string safetensors_with_header(const std::string& header, const std::string& data) {
  return le(std::uint64_t(header.size())) + header + data;
}

inline std::string safetensors(const std::vector<TestTensor>& tensors, const std::string& type) {
  const std::string dtype = type == "bf16" ? "BF16" : type == "f2" ? "F16" : type == "f4" ? "F32" : "F64";
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}", data;
  for (const TestTensor& t : tensors) {
    const std::string bytes = encode(t.values, type);
    header += fmt::format(",\"{}\":{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", t.name, dtype,
                          fmt::join(t.shape, ","), data.size(), data.size() + bytes.size());
    data += bytes;
  }
  return safetensors_with_header(header + "}", data);
}

inline std::string deflated(const std::string& data) {
  z_stream stream{};
  if (deflateInit2(&stream, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) throw std::bad_alloc();
  std::string packed(deflateBound(&stream, data.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = uInt(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = uInt(packed.size());
  const int result = ::deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  if (result != Z_STREAM_END) throw std::logic_error("cannot deflate");
  return packed;
}

enum class Zip { kStored, kDeflated, kZip64 };  ///< kZip64: stored, with 64-bit sizes as above 4 GiB

/// A zip archive of (name, content).
inline std::string zip(const std::vector<std::pair<std::string, std::string>>& files, Zip kind) {
  constexpr std::uint32_t kFull = 0xffffffff;
  const bool zip64 = kind == Zip::kZip64;
  std::string archive, directory;
  for (const auto& [name, content] : files) {
    const std::string packed = kind == Zip::kDeflated ? deflated(content) : content;
    const auto crc = std::uint32_t(::crc32(0, reinterpret_cast<const Bytef*>(content.data()), uInt(content.size())));
    const std::string common = le(std::uint16_t(zip64 ? 45 : 20)) + le(std::uint16_t(0)) +
                               le(std::uint16_t(kind == Zip::kDeflated ? 8 : 0)) + le(std::uint32_t(0)) + le(crc) +
                               le(zip64 ? kFull : std::uint32_t(packed.size())) +
                               le(zip64 ? kFull : std::uint32_t(content.size())) + le(std::uint16_t(name.size()));
    const std::string sizes = le(std::uint64_t(content.size())) + le(std::uint64_t(packed.size()));
    const std::string local_extra = zip64 ? le(std::uint16_t(1)) + le(std::uint16_t(16)) + sizes : "";
    const std::string extra =
        zip64 ? le(std::uint16_t(1)) + le(std::uint16_t(24)) + sizes + le(std::uint64_t(archive.size())) : "";
    directory += "PK\x01\x02" + le(std::uint16_t(45)) + common + le(std::uint16_t(extra.size())) +
                 std::string(10, '\0') + le(zip64 ? kFull : std::uint32_t(archive.size())) + name + extra;
    archive += "PK\x03\x04" + common + le(std::uint16_t(local_extra.size())) + name + local_extra + packed;
  }
  const std::uint64_t begin = archive.size(), size = directory.size(), count = files.size();
  archive += directory;
  if (zip64) {
    archive += "PK\x06\x06" + le(std::uint64_t(44)) + le(std::uint16_t(45)) + le(std::uint16_t(45)) +
               std::string(8, '\0') + le(count) + le(count) + le(size) + le(begin);
    archive += "PK\x06\x07" + le(std::uint32_t(0)) + le(begin + size) + le(std::uint32_t(1));
  }
  return archive + "PK\x05\x06" + std::string(4, '\0') + le(std::uint16_t(zip64 ? 0xffff : count)) +
         le(std::uint16_t(zip64 ? 0xffff : count)) + le(zip64 ? kFull : std::uint32_t(size)) +
         le(zip64 ? kFull : std::uint32_t(begin)) + le(std::uint16_t(0));
}

inline std::string npz(const std::vector<TestTensor>& tensors, const std::string& type, Zip kind) {
  std::vector<std::pair<std::string, std::string>> files;
  for (const TestTensor& t : tensors) files.emplace_back(t.name + ".npy", npy(t, type));
  return zip(files, kind);
}

/// A problem's tensors that make small files.
inline std::vector<TestTensor> small_tensors() {
  return tensors_of(make_problem({2, 1, 5, 8, 4}));
}

inline std::string write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
  return path;
}

/// Every tensor of a file, read to its end in small pieces.
inline void read_all(const std::string& path) {
  const std::unique_ptr<TensorFile> file = open_tensor_file(path);
  std::vector<std::byte> bytes;
  std::vector<float> values;
  for (std::size_t i = 0; i < file->names().size(); ++i) {
    const TensorInfo info = file->info(i);
    const std::size_t element = size_of(info.type);
    if (element == 0) continue;
    const std::uint64_t count = byte_count(info.shape, element, path) / element;
    const std::shared_ptr<ByteSource> data = file->data(i);
    if (data->size() != count * element) throw std::logic_error("the data are not what the shape takes");
    for (std::uint64_t at = 0; at < count; at += 100) {
      values.resize(std::size_t(std::min<std::uint64_t>(100, count - at)));
      bytes.resize(values.size() * element);
      data->read(at * element, bytes);
      to_float32(info.type, bytes, values);
    }
    data->finish();
  }
}

}  // namespace salebench
