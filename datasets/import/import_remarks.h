// What makes imported tensors look wrong, though they can be read: said as warnings.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/problem.h"

namespace salebench {

/// Looks at a tensor while it is copied, piece by piece.
class TensorLook {
 public:
  /// heads_first: the rows of the file are [heads, len], else [len, heads].
  TensorLook(std::uint64_t heads, std::uint64_t len, std::uint64_t dim, bool heads_first);

  /// Rows of the file from row `first` on.
  void add(std::uint64_t first, std::span<const float> values);

  /// Tokens at either end that are zero in every head and channel; all of them where the tensor holds nothing else.
  std::uint64_t zeros_at_begin() const;
  std::uint64_t zeros_at_end() const;
  bool is_zero() const { return zeros_at_begin() == token_seen_.size(); }

  /// Whether rows of a heads-first tensor differ by their number modulo the heads, which rows of [len, heads] do, as
  /// heads have means of their own. An F statistic; nothing is claimed of rows in the other order, as tokens drift.
  bool looks_tokens_first() const;

 private:
  std::uint64_t heads_, len_, dim_;
  bool heads_first_, compares_heads_;
  std::vector<bool> token_seen_;  ///< a value other than zero
  std::vector<double> sums_;      ///< [heads, dim], by row modulo heads
  double squares_ = 0;
};

/// What is odd about the shape that a layout gives.
std::vector<std::string> layout_remarks(const Shape& shape, const std::string& layout);

/// What is odd about the values of q, k and v, given the first visible key that the user states.
std::vector<std::string> value_remarks(const std::map<std::string, TensorLook>& looks, const Shape& shape,
                                       int first_key, const std::string& layout);

}  // namespace salebench
