// The problem every method solves: scaled dot-product attention on captured, RoPE'd Q, K and V, as float32 in host
// memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace salebench {

/// Sizes of one attention problem. Query head h reads KV head h / (q_heads / kv_heads) (GQA). Query row i sits at token
/// position offset() + i, so q_len < kv_len is chunked prefill: the queries are the last q_len tokens.
struct Shape {
  int q_heads = 0;
  int kv_heads = 0;
  int q_len = 0;
  int kv_len = 0;
  int head_dim = 0;

  int group() const { return q_heads / kv_heads; }
  int kv_head_of(int q_head) const { return q_head / group(); }
  int offset() const { return kv_len - q_len; }

  /// Throws std::invalid_argument naming the field unless all sizes are positive, kv_heads divides q_heads and
  /// q_len <= kv_len.
  void check() const;

  bool operator==(const Shape&) const = default;
};

/// What a capture says of a problem without its tensors: its sizes, its attention, completely, and where it comes from.
/// Files, plans and results hold these members through the columns of results/problem_columns.h.
struct ProblemInfo {
  std::string id;
  Shape shape;  ///< of the keys that some row sees, and the rows that are no padding
  bool causal = true;
  double scale = 0;        ///< multiplies q . k; in a file, none means 1 / sqrt(head_dim)
  int sliding_window = 0;  ///< keys that a row sees at most, its own token and those before it; 0 for no limit
  int first_key = 0;       ///< leading tokens of the capture that no row sees, as padding, and are not loaded
  double softcap = 0;      ///< logits become softcap * tanh(logit / softcap); 0 for none
  bool sinks = false;      ///< each head has a sink: one more logit in the softmax, without a value
  std::string dtype;       ///< "float16", "bfloat16" or "float32"; "mixed" where q, k and v differ
  int layer = -1;          ///< -1 where the file does not say
  std::string model, prompt, source, captured_utc;
  std::string attributes;  ///< others of the file that change nothing here, JSON; "" for none
};

/// How the attention of a problem differs from plain causal attention, for people: "window 512, softcap 50"; empty for
/// plain.
std::string attention_text(const ProblemInfo& problem);

/// The first key that a row at a token position sees under a sliding window; 0 stands for no window.
inline int first_key_in_window(int position, int sliding_window) {
  return sliding_window > 0 ? std::max(0, position + 1 - sliding_window) : 0;
}

/// Read-only view of a problem. Row-major: q is [q_heads, q_len, head_dim], k and v are [kv_heads, kv_len, head_dim].
struct HostProblem {
  Shape shape;
  bool causal = true;
  float scale = 1.0f;  ///< multiplies q . k; 1 / sqrt(head_dim) for most models
  std::span<const float> q;
  std::span<const float> k;
  std::span<const float> v;
  int sliding_window = 0;  ///< keys that a row sees at most, its own token and those before it; 0 for no limit

  std::size_t q_head_size() const { return std::size_t(shape.q_len) * shape.head_dim; }
  std::size_t kv_head_size() const { return std::size_t(shape.kv_len) * shape.head_dim; }
  const float* q_head(int q_head) const { return q.data() + q_head * q_head_size(); }     ///< [q_len, head_dim]
  const float* k_head(int kv_head) const { return k.data() + kv_head * kv_head_size(); }  ///< [kv_len, head_dim]
  const float* v_head(int kv_head) const { return v.data() + kv_head * kv_head_size(); }  ///< [kv_len, head_dim]
  const float* k_of(int q_head) const { return k_head(shape.kv_head_of(q_head)); }
  const float* v_of(int q_head) const { return v_head(shape.kv_head_of(q_head)); }

  /// The keys that query row `row` may see are [key_begin(row), key_end(row)); they are never none.
  int key_begin(int row) const { return first_key_in_window(shape.offset() + row, sliding_window); }
  int key_end(int row) const { return causal ? shape.offset() + row + 1 : shape.kv_len; }
};

/// A problem that owns its tensors.
struct ProblemTensors {
  Shape shape;
  bool causal = true;
  float scale = 1.0f;
  std::vector<float> q, k, v;
  int sliding_window = 0;  ///< as in HostProblem

  HostProblem view() const { return {shape, causal, scale, q, k, v, sliding_window}; }
};

/// Where attention writes: output is [q_heads, q_len, head_dim], lse is [q_heads, q_len] (natural log of the sum of
/// exp(scale * q . k) over the keys kept, -inf for a row that keeps none). An empty output asks for the LSE alone.
struct AttentionView {
  std::span<float> output;
  std::span<float> lse;
};

/// An attention result that owns its arrays.
struct AttentionResult {
  std::vector<float> output, lse;

  explicit AttentionResult(const Shape& s)
      : output(std::size_t(s.q_heads) * s.q_len * s.head_dim), lse(std::size_t(s.q_heads) * s.q_len) {}
  AttentionView view() { return {output, lse}; }
};

}  // namespace salebench
