#include "datasets/capture_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "core/atomic_file.h"
#include "core/half.h"
#include "datasets/dataset.h"

namespace salebench {

CaptureWriter::CaptureWriter(std::string path, bool append)
    : path_(std::move(path)), temporary_(fmt::format("{}.tmp.{}", path_, ::getpid())) {
  std::error_code error;
  if (append && std::filesystem::exists(path_, error)) {
    const Dataset is_capture(path_);
    std::filesystem::copy_file(path_, temporary_, error);
    if (error) {
      ::unlink(temporary_.c_str());
      throw WriteError(fmt::format("cannot copy {} to {}: {}", path_, temporary_, error.message()));
    }
    file_ = std::make_unique<h5::File>(h5::File::open_to_add(temporary_));
    return;
  }
  file_ = std::make_unique<h5::File>(h5::File::create_on_disk(temporary_));
  file_->root().set_attribute("format", "salebench.capture");
  file_->root().set_attribute("format_version", std::int64_t(1));
  file_->root().create_group("problems");
}

CaptureWriter::~CaptureWriter() {
  problem_.reset();
  file_.reset();
  ::unlink(temporary_.c_str());  // gone already after finish()
}

void CaptureWriter::set_attribute(const std::string& name, const std::string& value) {
  file_->root().set_attribute(name, value);
}

void CaptureWriter::begin(const CaptureProblem& problem) {
  const Shape& s = problem.shape;
  s.check();
  const bool is_float = problem.dtype == "float16";
  problem_ = std::make_unique<h5::Group>(file_->root().open_group("problems").create_group(problem.id));
  const auto extents = [&](int heads, int len) {
    return h5::Extents{hsize_t(heads), hsize_t(len), hsize_t(s.head_dim)};
  };
  problem_->create_16bit("q", extents(s.q_heads, s.q_len), is_float);
  problem_->create_16bit("k", extents(s.kv_heads, s.kv_len), is_float);
  problem_->create_16bit("v", extents(s.kv_heads, s.kv_len), is_float);
  if (problem.has_output) problem_->create_16bit("output", extents(s.q_heads, s.q_len), is_float);
  for (const std::string& name : problem_->children()) problem_->set_dataset_attribute(name, "dtype", problem.dtype);
  problem_->set_attribute("scale", problem.scale > 0 ? problem.scale : 1 / std::sqrt(double(s.head_dim)));
  problem_->set_attribute("causal", std::int64_t(problem.causal));
  if (problem.window > 0) problem_->set_attribute("window", std::int64_t(problem.window));
  if (problem.first_key > 0) problem_->set_attribute("first_key", std::int64_t(problem.first_key));
  if (problem.softcap > 0) problem_->set_attribute("softcap", problem.softcap);
  if (problem.layer >= 0) problem_->set_attribute("layer", std::int64_t(problem.layer));
  for (const auto& [name, value] : problem.texts)
    if (!value.empty()) problem_->set_attribute(name, value);
}

void CaptureWriter::write_rows(const std::string& tensor, int head, int first, std::span<const std::uint16_t> bits) {
  try {
    problem_->write_16bit_rows(tensor, hsize_t(head), hsize_t(first), bits);
  } catch (const h5::Error& error) {
    throw WriteError(error.what());
  }
}

void CaptureWriter::finish() {
  try {
    file_->flush();
  } catch (const h5::Error&) {
    throw WriteError(fmt::format("cannot write {}: is the disk full?", path_));
  }
  problem_.reset();
  file_.reset();
  const int file = ::open(temporary_.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = file >= 0 && ::fsync(file) == 0;
  if (file >= 0) ::close(file);
  if (!synced || std::rename(temporary_.c_str(), path_.c_str()) != 0)
    throw WriteError(fmt::format("cannot write {}: {}", path_, std::strerror(errno)));
}

std::vector<std::uint16_t> to_16bit(std::span<const float> values, const std::string& dtype) {
  std::vector<std::uint16_t> bits(values.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    bits[i] = dtype == "bfloat16" ? float_to_bfloat16(values[i]) : float_to_half(values[i]);
  return bits;
}

}  // namespace salebench
