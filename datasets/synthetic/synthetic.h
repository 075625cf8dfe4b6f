// Seeded problems that need no model: with the structure of real attention, or without any. docs/synthetic.md says how.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/reference.h"

namespace salebench {

/// A strength is drawn for each query head evenly from [low, high].
struct StrengthRange {
  double low = 0, high = 0;
};

/// What `salebench synth` makes. Strengths are in logits: what the structure adds to scale * q . k where it is
/// strongest.
struct SyntheticOptions {
  std::string kind = "structured";  ///< or "normal": i.i.d. Gaussian Q, K and V, the worst case
  int length = 8192;                ///< tokens; up to kMaxLength
  int q_length = 0;                 ///< the last so many tokens are queries; 0: all
  int q_heads = 8;                  ///< up to kMaxHeads
  int kv_heads = 2;
  int head_dim = 128;  ///< even, 8 to 256
  int problems = 1;    ///< problem i has the seed `seed + i` and the id `<kind>_<i>`
  std::uint64_t seed = 1;
  std::string dtype = "float16";  ///< or "bfloat16"
  double rope_theta = 500000;     ///< base of the rotary embedding's frequencies, more than 1

  StrengthRange sink = {6, 13};      ///< the first 4 tokens
  StrengthRange local = {0, 8};      ///< the latest tokens; falls off as a power of the distance
  StrengthRange slash = {0, 5};      ///< one fixed distance per head, 32 to 2048 tokens
  StrengthRange periodic = {0, 1};   ///< a cosine of the distance
  StrengthRange column = {2, 6};     ///< about one key in 128 that every query heeds
  StrengthRange topic = {4, 6};      ///< passages of 16 to 256 tokens on the same of 64 topics
  StrengthRange needle = {4, 12};    ///< 8 keys that 16 later queries ask for, one place per 1024 tokens
  StrengthRange noise = {0.9, 1.2};  ///< standard deviation of the logits' unstructured part

  int threads = 0;  ///< 0: as many as OpenMP gives; the values do not depend on it

  static constexpr int kMaxLength = 1 << 20, kMaxHeads = 256;

  /// Throws std::invalid_argument naming the first value that is out of range.
  void check() const;
  /// The options as the command line that gives the same values again.
  std::string command_line() const;
};

/// The names of the strengths, as in SyntheticOptions and on the command line.
inline constexpr const char* kStrengthNames[] = {"sink",   "local", "slash",  "periodic",
                                                 "column", "topic", "needle", "noise"};
/// The range of that name.
StrengthRange& strength_range(SyntheticOptions& options, const std::string& name);
const StrengthRange& strength_range(const SyntheticOptions& options, const std::string& name);

/// Writes the problems to a capture at `path`, piece by piece: memory does not grow with the length. progress may stop
/// the work (Stopped). Throws std::invalid_argument or WriteError; nothing is left behind then.
void write_synthetic(const SyntheticOptions& options, const std::string& path, const ProgressCall& progress = {});

/// Radians per token of the rotary pairs i = 0 ... head_dim / 2 - 1: theta^(-2 i / head_dim).
std::vector<double> rope_frequencies(int head_dim, double theta);
/// Rotates row [head_dim] to its position; pair i is (row[i], row[i + head_dim / 2]), as in Llama and Qwen.
void rotate(std::span<float> row, double position, std::span<const double> frequencies);

}  // namespace salebench
