#include "harness/show/first_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/registry.h"
#include "harness/plan/backends.h"
#include "harness/plan/calibrated_knob.h"
#include "harness/plan/honoured.h"
#include "harness/plan/open_capture.h"
#include "harness/support/errors.h"

namespace salebench {
namespace {

namespace fs = std::filesystem;

constexpr int kShortest = 1024, kLengths = 2;  // prefixes to suggest: shorter ones have little to leave out
constexpr std::size_t kColumn = 60;            // where comments begin

/// What most comparisons begin with.
const std::set<std::string> kFirst = {"dense",       "sale",      "block_topk", "xattention",
                                      "flexprefill", "streaming", "oracle_topk"};

std::string yaml_text(const std::string& text) {
  YAML::Emitter out;
  out << YAML::DoubleQuoted << text;
  return out.c_str();
}

std::string with_comment(const std::string& line, const std::string& comment) {
  return fmt::format("{:<{}}  # {}\n", line, kColumn, comment);
}

std::string tokens_of(const std::vector<ProblemInfo>& problems) {
  const auto [least, most] = std::ranges::minmax(problems, {}, [](const ProblemInfo& p) { return p.shape.kv_len; });
  return least.shape.kv_len == most.shape.kv_len ? std::to_string(least.shape.kv_len)
                                                 : fmt::format("{} to {}", least.shape.kv_len, most.shape.kv_len);
}

std::string dataset_lines(const Dataset& dataset, const std::string& folder) {
  const std::vector<ProblemInfo>& problems = dataset.problems();
  const ProblemInfo& first = problems.front();
  const Shape& shape = first.shape;
  std::string path = fs::absolute(dataset.path()).lexically_proximate(fs::absolute(folder));
  if (path.starts_with("../../..")) path = fs::absolute(dataset.path()).lexically_normal();  // another tree
  std::string text = with_comment(fmt::format("  - path: {}", yaml_text(path)), "relative to this file; may be a glob");
  text += with_comment("    problems: [\"*\"]",
                       problems.size() == 1
                           ? first.id
                           : fmt::format("globs; all {}: {} ... {}", problems.size(), first.id, problems.back().id));
  std::vector<int> lengths;
  int shortest = shape.kv_len - first.first_key;
  bool may_cut = true;  // a prefix must leave a query row
  for (const ProblemInfo& p : problems) {
    shortest = std::min(shortest, p.shape.kv_len - p.first_key);
    may_cut = may_cut && p.shape.q_len == p.shape.kv_len;
  }
  for (int length = shortest; length >= kShortest && int(lengths.size()) < kLengths; length /= 4)
    lengths.insert(lengths.begin(), length);
  if (may_cut && lengths.size() > 1)
    text += with_comment(fmt::format("    lengths: [{}]", fmt::join(lengths, ", ")),
                         fmt::format("prefixes of the {} tokens", tokens_of(problems)));
  else
    text += with_comment("    # lengths: [...]", fmt::format("prefixes of the {} tokens", tokens_of(problems)));
  const std::string attention = attention_text(first);
  return text + with_comment("    # repeat: 4",
                             fmt::format("copies of the {} query and {} KV heads, head_dim {}{}{}", shape.q_heads,
                                         shape.kv_heads, shape.head_dim, attention.empty() ? "" : "; ", attention));
}

/// Why no backend of this machine runs the method on the problem; empty if one does.
std::string why_not(const Method& method, const ProblemInfo& problem) {
  std::string first;
  for (const Backend* backend : backends()) {
    if (!backend->why_none().empty()) continue;
    const std::string why = why_unsupported(method, problem, problem.shape, backend->name());
    if (why.empty()) return {};
    if (first.empty()) first = why;
  }
  return first;
}

/// A method with the typical values of its knob; as a comment where it is not among the first, or can't run.
std::string method_line(const MethodInfo& info, const ProblemInfo& problem) {
  const auto method = info.make();
  const Params params = method->all_params();
  std::string settings;
  if (const Param* knob = knob_param(params); knob && info.name != "dense")
    settings = fmt::format("{}: [{}]", knob->name(), fmt::join(knob->knob()->typical, ", "));
  std::string why;
  try {
    why = why_not(*method, problem);
  } catch (const std::exception& error) {
    why = error.what();
  }
  const bool is_first = kFirst.contains(info.name) && why.empty();
  return with_comment(fmt::format("  {}{}: {{{}}}", is_first ? "" : "# ", info.name, settings),
                      why.empty() ? info.summary : "not here: " + why);
}

}  // namespace

std::string first_config(const std::vector<std::string>& captures, const std::string& folder) {
  std::string datasets;
  std::vector<ProblemInfo> problems;
  for (const std::string& path : captures) {
    const Dataset dataset = open_capture(path);
    if (dataset.problems().empty()) throw DataError(fmt::format("{} holds no problems", path));
    datasets += dataset_lines(dataset, folder);
    problems.push_back(dataset.problems().front());
  }
  const std::string none = backend_called("cuda").why_none();
  std::string text =
      "# A sweep: each list is an axis, and each combination a cell. `salebench list METHOD` tells what else a\n"
      "# method takes; a range is {from: 0.05, to: 0.4, steps: 8, scale: log}.\n"
      "version: 1\ndatasets:\n" +
      datasets;
  text += with_comment(none.empty() ? "backend: [cuda]" : "backend: [cpu]",
                       none.empty() ? "or cpu, or both" : "cuda: " + none);
  const std::string why = why_not(*method_info("dense").make(), problems.front());
  if (!why.empty())
    throw UsageError(fmt::format("no method takes {} of {}: {}", problems.front().id, captures[0], why));
  text += "methods:\n";
  for (const bool first : {true, false})
    for (const MethodInfo& info : methods())
      if (info.name != "external" && info.name != "random" && kFirst.contains(info.name) == first)
        text += method_line(info, problems.front());
  text += with_comment("measure: {max_time: 2, max_noise: 0.02}",
                       "seconds a cell at most, fewer once within 2 %; rounds: 4 makes runs comparable");
  return text;
}

}  // namespace salebench
