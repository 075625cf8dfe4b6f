#include "harness/support/text_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace salebench {
std::size_t printed_width(const std::string& text) {
  return std::size_t(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string cut_to_width(const std::string& text, std::size_t width) {
  if (width == 0 || printed_width(text) <= width) return text;
  std::size_t end = 0;
  for (std::size_t seen = 0; end < text.size(); ++end)
    if ((text[end] & 0xc0) != 0x80 && ++seen == width) break;
  return text.substr(0, end) + "…";
}

std::vector<std::string> drop_columns(std::vector<TextRow>& rows, std::vector<int>& order, std::size_t width) {
  std::vector<std::string> dropped;
  const auto line_width = [&] {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < rows.front().size(); ++i) {
      std::size_t widest = 0;
      for (const TextRow& row : rows) widest = std::max(widest, printed_width(row[i]));
      sum += widest + (i > 0 ? 2 : 0);
    }
    return sum;
  };
  while (width > 0 && line_width() > width) {
    const auto first = std::ranges::max_element(order);
    if (*first == 0) break;
    const auto column = first - order.begin();
    dropped.push_back(rows.front()[std::size_t(column)]);
    for (TextRow& row : rows) row.erase(row.begin() + column);
    order.erase(first);
  }
  return dropped;
}

std::string seconds_text(double seconds) {
  if (std::isnan(seconds)) return "-";
  const double factor = seconds >= 1 ? 1 : seconds >= 1e-3 ? 1e3 : 1e6, value = seconds * factor;
  return fmt::format("{:.{}f} {}", value,
                     value >= 100  ? 0
                     : value >= 10 ? 1
                                   : 2,
                     seconds >= 1      ? "s"
                     : seconds >= 1e-3 ? "ms"
                                       : "µs");
}

std::string markdown_cell(std::string text) {
  for (std::size_t bar = text.find('|'); bar != std::string::npos; bar = text.find('|', bar + 2))
    text.insert(bar, 1, '\\');
  return text;
}

std::string aligned_table(std::vector<TextRow> rows, const std::set<std::size_t>& left, bool markdown) {
  if (markdown)
    for (TextRow& row : rows)
      for (std::string& text : row) text = markdown_cell(std::move(text));
  std::vector<std::size_t> widths(rows.front().size());
  for (const TextRow& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], printed_width(row[i]));
  std::string text;
  for (std::size_t n = 0; n < rows.size(); ++n) {
    std::string line = markdown ? "|" : "";
    for (std::size_t i = 0; i < rows[n].size(); ++i) {
      const std::string pad(widths[i] - printed_width(rows[n][i]), ' ');
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
