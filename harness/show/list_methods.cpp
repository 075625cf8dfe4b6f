#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/json_text.h"
#include "core/registry.h"
#include "harness/plan/backends.h"
#include "harness/plan/plan.h"
#include "harness/show/list.h"
#include "harness/support/text_table.h"

namespace salebench {
namespace {

using nlohmann::json;

json param_json(const Param& p) {
  json param = {
      {"name", p.name()}, {"type", p.type()}, {"default", p.text()}, {"allowed", p.allowed()}, {"help", p.help()}};
  if (const Knob* knob = p.knob())
    param["knob"] = {{"per_head", knob->per_head},
                     {"larger", knob->larger == Knob::Trend::keeps_more ? "keeps more" : "keeps less"}};
  return param;
}

json method_json(const MethodInfo& info) {
  const auto method = info.make();
  json params = json::array();
  for (const Param& p : method->all_params()) params.push_back(param_json(p));
  const BlockSize block = method->block();
  const About about = method->about();
  return {{"name", info.name},
          {"version", info.version},
          {"summary", info.summary},
          {"plugin", info.plugin},
          {"role", role_name(method->role())},
          {"params", params},
          {"block", fmt::format("{}x{}", block.q, block.k)},
          {"token_exact", method->window().has_value()},
          {"cuda", backend_called("cuda").selection(*method)},
          {"about",
           {{"source", about.source},
            {"statistic", about.statistic},
            {"rule", about.rule},
            {"deviations", about.deviations}}}};
}

std::string text_of(const json& value) {
  return value.get<std::string>();
}

std::string plain_text(const json& all) {
  std::string text;
  for (const json& m : all) {
    text += fmt::format(
        "{} (version {}, tile {}{}): {}\n", text_of(m["name"]), m["version"].get<int>(), text_of(m["block"]),
        text_of(m["cuda"]).empty() ? "" : fmt::format(", CUDA: {}", text_of(m["cuda"])), text_of(m["summary"]));
    for (const json& p : m["params"])
      text += fmt::format("  {:<14} {:<7} default {:<7} {}  [{}]\n", text_of(p["name"]), text_of(p["type"]),
                          text_of(p["default"]), text_of(p["help"]), text_of(p["allowed"]));
  }
  return text;
}

std::string type_and_knob(const json& param) {
  if (!param.contains("knob")) return text_of(param["type"]);
  const json& knob = param["knob"];
  return fmt::format("{}, knob{}: larger {}", text_of(param["type"]), knob["per_head"] ? "" : " of all heads",
                     text_of(knob["larger"]));
}

std::string markdown_section(const json& m) {
  const json& about = m["about"];
  std::string text = fmt::format("\n### {}\n\n{}. Version {}.\n\n- Source: {}.\n", text_of(m["name"]),
                                 text_of(m["summary"]), m["version"].get<int>(), text_of(about["source"]));
  if (const std::string deviations = text_of(about["deviations"]); !deviations.empty())
    text += fmt::format("- Deviations: {}.\n", deviations);
  if (m["params"].empty()) return text + "- No parameters.\n";
  text += "\n| parameter | type | default | allowed | meaning |\n|---|---|---|---|---|\n";
  for (const json& p : m["params"])
    text += fmt::format("| `{}` | {} | {} | {} | {} |\n", text_of(p["name"]), type_and_knob(p),
                        markdown_cell(p["default"]), markdown_cell(p["allowed"]), markdown_cell(p["help"]));
  return text;
}

std::string markdown(const json& all) {
  std::string text =
      "<!-- From here on: the output of `salebench list methods --format md`. -->\n\n## Overview\n\n"
      "| method | role | tile | CUDA | looks at | keeps |\n|---|---|---|---|---|---|\n";
  for (const json& m : all) {
    const std::string name = text_of(m["name"]);
    text += fmt::format("| [{}](#{}) | {} | {}{} | {} | {} | {} |\n", name, name, text_of(m["role"]),
                        text_of(m["block"]), m["token_exact"] ? ", token-exact" : "", text_of(m["cuda"]),
                        markdown_cell(m["about"]["statistic"]), markdown_cell(m["about"]["rule"]));
  }
  text += "\n## Parameters\n";
  for (const json& m : all) text += markdown_section(m);
  return text;
}

bool runs_as_it_is(const Method& method) {
  try {
    method.check_shape({1, 1, 8192, 8192, 128});
    return true;
  } catch (const Unsupported&) {
    return false;  // it needs a file
  }
}

/// The `methods` of a sweep: each that runs without a file, at the typical values of its knob.
std::string yaml() {
  std::string text = "methods:\n";
  for (const MethodInfo& info : methods()) {
    const auto method = info.make();
    if (!runs_as_it_is(*method)) continue;
    std::string knob;
    for (const Param& p : method->all_params())
      if (p.knob()) knob = fmt::format("{}: [{}]", p.name(), fmt::join(p.knob()->typical, ", "));
    text += fmt::format("  {}: {{{}}}\n", info.name, knob);
  }
  return text;
}

}  // namespace

std::optional<std::string> describe_method(const std::string& name) {
  const auto& all = methods();
  const auto found = std::ranges::find(all, name, &MethodInfo::name);
  if (found == all.end()) return std::nullopt;
  const json method = method_json(*found);
  std::string text = plain_text(json::array({method}));
  for (const char* const fact : {"source", "statistic", "rule", "deviations"})
    if (const std::string value = text_of(method["about"][fact]); !value.empty())
      text += fmt::format("{}: {}\n",
                          std::string_view(fact) == "statistic" ? "looks at"
                          : std::string_view(fact) == "rule"    ? "keeps"
                                                                : fact,
                          value);
  return text + (found->plugin.empty() ? "" : fmt::format("plugin: {}\n", found->plugin));
}

std::string list_methods(const std::string& format) {
  if (format == "yaml") return yaml();
  json all = json::array();
  for (const MethodInfo& info : methods()) all.push_back(method_json(info));
  return format == "json" ? json_text(all, 1) + "\n" : format == "md" ? markdown(all) : plain_text(all);
}

}  // namespace salebench
