#include "harness/support/text_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace salebench {
namespace {

/// Printed width of UTF-8 text.
std::size_t width(const std::string& text) {
  return std::size_t(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace

std::string aligned_table(const std::vector<TextRow>& rows, const std::set<std::size_t>& left, bool markdown) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const TextRow& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  std::string text;
  for (std::size_t n = 0; n < rows.size(); ++n) {
    std::string line = markdown ? "|" : "";
    for (std::size_t i = 0; i < rows[n].size(); ++i) {
      const std::string pad(widths[i] - width(rows[n][i]), ' ');
      line += fmt::format("{}{}{}", markdown ? " " : "", left.contains(i) ? rows[n][i] + pad : pad + rows[n][i],
                          markdown ? " |" : "  ");
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
    if (n > 0) continue;
    std::string rule = markdown ? "|" : "";
    for (const std::size_t w : widths) rule += std::string(w + (markdown ? 2 : 0), '-') + (markdown ? "|" : "  ");
    rule.erase(rule.find_last_not_of(' ') + 1);
    text += rule + "\n";
  }
  return text;
}

std::string number_text(double value, const char* format, double factor) {
  return std::isnan(value) ? "-" : fmt::format(fmt::runtime(format), value * factor);
}

}  // namespace salebench
