// Tables of text with aligned columns.
#pragma once

#include <set>
#include <string>
#include <vector>

namespace salebench {

using TextRow = std::vector<std::string>;

/// Text for a column of Markdown, which a bar would end.
std::string markdown_cell(std::string text);

/// The rows, the first of which is the header, padded to columns; those in `left` to the left, the others to the right.
std::string aligned_table(std::vector<TextRow> rows, const std::set<std::size_t>& left, bool markdown = false);

/// Printed width of UTF-8 text.
std::size_t printed_width(const std::string& text);

/// UTF-8 text cut to a printed width, the last column then "…"; 0 is no limit.
std::string cut_to_width(const std::string& text, std::size_t width);

/// Takes columns out of the rows until a line is no wider than `width` (0: no limit), the largest numbers in `order`
/// first; those with 0 stay. Returns their headers.
std::vector<std::string> drop_columns(std::vector<TextRow>& rows, std::vector<int>& order, std::size_t width);

/// Seconds with a unit, three digits: "3.96 s", "12.1 ms", "458 µs"; "-" for NaN.
std::string seconds_text(double seconds);

/// A number through a format, or "-" for NaN.
std::string number_text(double value, const char* format, double factor = 1);

}  // namespace salebench
