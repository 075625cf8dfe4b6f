#include "harness/page/page.h"

#include <cstdint>
#include <map>
#include <string_view>

// A file that CMake names lies in the program byte for byte, with its size before it.
#define SALEBENCH_EMBED(name, file)                                                                      \
  __asm__(".pushsection .rodata\n.balign 8\npage_" #name "_size: .quad 1f - page_" #name "\npage_" #name \
          ":\n.incbin \"" file "\"\n1:\n.popsection\n");                                                 \
  extern "C" const std::uint64_t page_##name##_size;                                                     \
  extern "C" const char page_##name[]

SALEBENCH_EMBED(template, SALEBENCH_PAGE_TEMPLATE);
SALEBENCH_EMBED(style, SALEBENCH_PAGE_STYLE);
SALEBENCH_EMBED(script, SALEBENCH_PAGE_SCRIPT);
SALEBENCH_EMBED(library, SALEBENCH_PAGE_LIBRARY);

#undef SALEBENCH_EMBED

namespace salebench {
namespace {

/// Text for a place in HTML outside of tags.
std::string html_text(const std::string& text) {
  std::string escaped;
  for (const char c : text) escaped += c == '&' ? "&amp;" : c == '<' ? "&lt;" : std::string(1, c);
  return escaped;
}

}  // namespace

bool page_has_plots() {
  return page_library_size > 0;
}

std::string page_html(const std::string& title, const std::string& data) {
  const std::string heading = html_text(title);
  const std::map<std::string_view, std::string_view> parts = {{"title", heading},
                                                              {"style", {page_style, page_style_size}},
                                                              {"script", {page_script, page_script_size}},
                                                              {"library", {page_library, page_library_size}},
                                                              {"data", data}};
  std::string html;
  // One pass over the template alone: what is filled in may hold braces of its own.
  std::string_view rest(page_template, page_template_size);
  while (true) {
    const std::size_t open = rest.find("{{"), close = rest.find("}}");
    html += rest.substr(0, open);
    if (open == std::string_view::npos) return html;
    html += parts.at(rest.substr(open + 2, close - open - 2));
    rest.remove_prefix(close + 2);
  }
}

}  // namespace salebench
