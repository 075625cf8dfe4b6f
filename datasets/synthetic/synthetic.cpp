// Compiled without contraction of a * b + c into one rounding; see CMakeLists.txt.
#include "datasets/synthetic/synthetic.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>

#include "core/atomic_file.h"
#include "datasets/capture_writer.h"
#include "datasets/synthetic/synthetic_model.h"

namespace salebench {
namespace {

constexpr int kBlockRows = 64;    ///< rows that a thread makes at a time
constexpr int kPieceRows = 8192;  ///< rows of a head that are written at a time

void require(bool condition, const std::string& message) {
  if (!condition) throw std::invalid_argument(message);
}

Shape shape_of(const SyntheticOptions& o) {
  return {o.q_heads, o.kv_heads, o.q_length > 0 ? o.q_length : o.length, o.length, o.head_dim};
}

CaptureProblem describe(const SyntheticOptions& o, int index, const SyntheticModel& model) {
  SyntheticOptions one = o;
  one.seed = o.seed + std::uint64_t(index);
  one.problems = 1;
  CaptureProblem problem;
  problem.id = fmt::format("{}_{}", o.kind, index);
  problem.shape = shape_of(o);
  problem.dtype = o.dtype;
  const bool normal = o.kind == "normal";
  problem.texts = {
      {"kind", o.kind},
      {"seed", fmt::format("{}", one.seed)},
      {"parameters", one.command_line()},
      {"model", normal ? "no model: i.i.d. Gaussian, the worst case" : "no model: synthetic, structured"},
      {"source", normal ? "salebench synth: i.i.d. Gaussian Q, K and V, the worst case for sparse attention"
                        : "salebench synth: structured Q and K"},
      {"heads", model.heads_text()}};
  return problem;
}

/// Shares of the work done, over all heads of all problems.
class Share {
 public:
  Share(const SyntheticOptions& o, const ProgressCall& call) : call_(call) {
    const Shape s = shape_of(o);
    all_ = double(o.problems) * (double(s.q_heads) * s.q_len + 2.0 * s.kv_heads * s.kv_len);
  }
  void add(int rows) {
    done_ += rows;
    if (call_ && !call_(done_ / all_)) throw Stopped("stopped");
  }

 private:
  const ProgressCall& call_;
  double all_ = 0, done_ = 0;
};

/// All rows of one head of a tensor, made in parallel and written in pieces.
void write_head(const SyntheticModel& model, const SyntheticOptions& o, SyntheticTensor tensor, int head,
                CaptureWriter& writer, Share& share) {
  const Shape s = shape_of(o);
  const int rows = tensor == SyntheticTensor::kQ ? s.q_len : s.kv_len;
  const int offset = s.kv_len - rows, dim = o.head_dim;
  const char* name = tensor == SyntheticTensor::kQ ? "q" : tensor == SyntheticTensor::kK ? "k" : "v";
  std::vector<std::uint16_t> piece;
  for (int first = 0; first < rows; first += kPieceRows) {
    const int count = std::min(kPieceRows, rows - first);
    piece.resize(std::size_t(count) * dim);
#pragma omp parallel for schedule(dynamic) num_threads(o.threads > 0 ? o.threads : omp_get_max_threads())
    for (int begin = 0; begin < count; begin += kBlockRows) {
      const int end = std::min(count, begin + kBlockRows);
      std::vector<float> values(std::size_t(end - begin) * dim);
      for (int row = begin; row < end; ++row)
        model.make_row(tensor, head, offset + first + row, {&values[std::size_t(row - begin) * dim], std::size_t(dim)});
      const std::vector<std::uint16_t> bits = to_16bit(values, o.dtype);
      std::copy(bits.begin(), bits.end(), piece.begin() + std::ptrdiff_t(begin) * dim);
    }
    writer.write_rows(name, head, first, piece);
    share.add(count);
  }
}

void write_all(const SyntheticOptions& options, CaptureWriter& writer, const ProgressCall& progress) {
  writer.set_attribute("source", "salebench synth");
  writer.set_attribute("parameters", options.command_line());
  Share share(options, progress);
  for (int index = 0; index < options.problems; ++index) {
    const SyntheticModel model(options, options.seed + std::uint64_t(index));
    writer.begin(describe(options, index, model));
    for (int head = 0; head < options.q_heads; ++head)
      write_head(model, options, SyntheticTensor::kQ, head, writer, share);
    for (int head = 0; head < options.kv_heads; ++head) {
      write_head(model, options, SyntheticTensor::kK, head, writer, share);
      write_head(model, options, SyntheticTensor::kV, head, writer, share);
    }
  }
}

}  // namespace

StrengthRange& strength_range(SyntheticOptions& options, const std::string& name) {
  StrengthRange SyntheticOptions::*const ranges[] = {
      &SyntheticOptions::sink,   &SyntheticOptions::local, &SyntheticOptions::slash,  &SyntheticOptions::periodic,
      &SyntheticOptions::column, &SyntheticOptions::topic, &SyntheticOptions::needle, &SyntheticOptions::noise};
  const auto* const found = std::find(std::begin(kStrengthNames), std::end(kStrengthNames), name);
  require(found != std::end(kStrengthNames), fmt::format("there is no strength '{}'", name));
  return options.*ranges[found - std::begin(kStrengthNames)];
}

const StrengthRange& strength_range(const SyntheticOptions& options, const std::string& name) {
  return strength_range(const_cast<SyntheticOptions&>(options), name);
}

void SyntheticOptions::check() const {
  const auto range = [](const char* name, std::int64_t value, std::int64_t low, std::int64_t high) {
    require(value >= low && value <= high, fmt::format("{} is {}, not {} to {}", name, value, low, high));
  };
  require(kind == "structured" || kind == "normal", fmt::format("kind is '{}', not structured or normal", kind));
  require(dtype == "float16" || dtype == "bfloat16", fmt::format("dtype is '{}', not float16 or bfloat16", dtype));
  range("length", length, 1, kMaxLength);
  range("q_length", q_length, 0, length);
  range("q_heads", q_heads, 1, kMaxHeads);
  range("kv_heads", kv_heads, 1, kMaxHeads);
  require(q_heads % kv_heads == 0, fmt::format("kv_heads {} does not divide q_heads {}", kv_heads, q_heads));
  range("head_dim", head_dim, 8, 256);
  require(head_dim % 2 == 0, fmt::format("head_dim {} is odd; rotary pairs need an even one", head_dim));
  range("problems", problems, 1, 10000);
  require(rope_theta > 1 && rope_theta <= 1e12,
          fmt::format("rope_theta is {}, not above 1 and up to 1e12", rope_theta));
  for (const char* name : kStrengthNames) {
    const StrengthRange& r = strength_range(*this, name);
    require(r.low >= 0 && r.high <= 100 && r.low <= r.high,
            fmt::format("{} is {}..{}, not a range within 0..100", name, r.low, r.high));
  }
}

std::string SyntheticOptions::command_line() const {
  std::string text = fmt::format("salebench synth --kind {} --length {}", kind, length);
  if (q_length > 0 && q_length < length) text += fmt::format(" --q-length {}", q_length);
  text += fmt::format(" --q-heads {} --kv-heads {} --head-dim {} --problems {} --seed {} --dtype {}", q_heads, kv_heads,
                      head_dim, problems, seed, dtype);
  if (kind == "normal") return text;
  text += fmt::format(" --rope-theta {}", rope_theta);
  for (const char* name : kStrengthNames) {
    const StrengthRange& r = strength_range(*this, name);
    text += fmt::format(" --{} {}..{}", name, r.low, r.high);
  }
  return text;
}

void write_synthetic(const SyntheticOptions& options, const std::string& path, const ProgressCall& progress) {
  options.check();
  if (std::filesystem::is_directory(path)) throw WriteError(fmt::format("cannot write {}: it is a folder", path));
  try {
    CaptureWriter writer(path);
    write_all(options, writer, progress);
    writer.finish();
  } catch (const h5::Error& error) {
    throw WriteError(error.what());
  }
}

}  // namespace salebench
