// Tables of text with aligned columns.
#pragma once

#include <set>
#include <string>
#include <vector>

namespace salebench {

using TextRow = std::vector<std::string>;

/// The rows, the first of which is the header, padded to columns; those in `left` to the left, the others to the right.
std::string aligned_table(const std::vector<TextRow>& rows, const std::set<std::size_t>& left, bool markdown = false);

/// A number through a format, or "-" for NaN.
std::string number_text(double value, const char* format, double factor = 1);

}  // namespace salebench
