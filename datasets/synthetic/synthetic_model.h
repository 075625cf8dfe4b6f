// The values of a synthetic problem, row by row; any row can be made without the others.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "datasets/synthetic/random.h"
#include "datasets/synthetic/synthetic.h"

namespace salebench {

enum class SyntheticTensor : std::uint32_t { kQ, kK, kV };

/// One problem. Before rotation, with d = head_dim:
///   k[j] = noise + sqrt(d) (u + topic(j) + importance(j) column + sink(j) sink + needle(j))
///   q[i] = s_noise noise + s_local u + s_slash u rotated by the slash + s_periodic (one pair of u) + s_topic topic(i)
///          + s_column column + s_sink sink + s_needle asked(i)
/// u lies in the fast half of the rotary pairs, so that its scores fall off with the distance; the others lie in the
/// slow half: random unit vectors of the KV head, those of sink and column at right angles to all. The strengths s are
/// drawn for each query head.
class SyntheticModel {
 public:
  SyntheticModel(const SyntheticOptions& options, std::uint64_t seed);

  /// One row [head_dim] of a tensor; position counts tokens from the start of the sequence.
  void make_row(SyntheticTensor tensor, int head, int position, std::span<float> row) const;
  /// One line per query head with its strengths; empty where there are none.
  std::string heads_text() const;

 private:
  using Vector = std::vector<float>;
  struct KvHead {
    Vector u, sink, column;
    std::vector<Vector> topics, needles;
  };
  struct QHead {
    float sink = 0, local = 0, slash = 0, periodic = 0, column = 0, topic = 0, needle = 0, noise = 0;
    int slash_offset = 0, periodic_pair = 0;
    Vector constant;  ///< what is in every query before rotation
  };

  void make_text();
  KvHead make_kv_head(int head) const;
  QHead make_q_head(int head) const;
  Vector direction(std::uint32_t which, int head, int first_pair, int end_pair,
                   std::initializer_list<const Vector*> others) const;
  Vector equal_pairs(std::uint32_t which, int head, int count) const;
  int draw(std::uint32_t stream, std::uint32_t index, double low, double high) const;
  float importance(int head, int key) const;
  void make_query(int head, int position, std::span<float> row) const;
  void make_key(int head, int position, std::span<float> row) const;

  SyntheticOptions options_;
  portable::Random random_;
  std::vector<double> frequencies_;
  std::vector<std::uint8_t> topic_of_;               ///< [length]
  std::vector<std::int16_t> needle_of_, asked_for_;  ///< [length], -1 for none
  std::vector<KvHead> kv_heads_;
  std::vector<QHead> q_heads_;
};

}  // namespace salebench
