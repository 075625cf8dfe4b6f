// A part of the query rows of a problem, such as those that a calibration fits to.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace salebench {

class RowSet {
 public:
  /// All rows.
  RowSet() = default;
  /// The rows marked true, [q_len].
  explicit RowSet(std::vector<bool> rows) : rows_(std::move(rows)) {}

  bool all() const { return rows_.empty(); }
  bool contains(int row) const { return all() || rows_[std::size_t(row)]; }
  /// Number of members in [begin, end).
  int count(int begin, int end) const {
    return all() ? end - begin : int(std::count(rows_.begin() + begin, rows_.begin() + end, true));
  }

 private:
  std::vector<bool> rows_;
};

}  // namespace salebench
