#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "datasets/synthetic/synthetic.h"
#include "harness/support/interrupts.h"
#include "harness/support/status_line.h"
#include "harness/verbs/verb.h"

namespace salebench {
namespace {

/// "2..6", "2,6" or "4".
StrengthRange parse_range(const std::string& name, const std::string& text) {
  const auto number = [&](const std::string& part) {
    std::size_t used = 0;
    double value = 0;
    try {
      value = std::stod(part, &used);
    } catch (const std::exception&) {
      used = std::string::npos;
    }
    if (used != part.size())
      throw CLI::ValidationError("--" + name, fmt::format("'{}' is not a range such as 2..6", text));
    return value;
  };
  const std::size_t dots = text.find(".."), split = dots != std::string::npos ? dots : text.find(',');
  if (split == std::string::npos) return {number(text), number(text)};
  return {number(text.substr(0, split)), number(text.substr(split + (dots != std::string::npos ? 2 : 1)))};
}

std::string describe(const std::string& strength) {
  if (strength == "sink") return "the first 4 tokens";
  if (strength == "local") return "the latest tokens";
  if (strength == "slash") return "one fixed distance";
  if (strength == "periodic") return "a period in the distance";
  if (strength == "column") return "keys that every query heeds";
  if (strength == "topic") return "passages on the same topic";
  if (strength == "needle") return "a few keys that a later question asks for";
  return "standard deviation of the unstructured logits";
}

class Synth : public Verb {
 public:
  std::string name() const override { return "synth"; }
  std::string help() const override { return "make a capture that needs no model: salebench synth -o synthetic.h5"; }

  void add(CLI::App& app) override {
    SyntheticOptions& o = options_;
    app.add_option("-o,--out", out_, "capture to write")->required();
    app.add_option("--kind", o.kind, "structured as in real models, or normal: i.i.d. Gaussian, the worst case")
        ->check(CLI::IsMember({"structured", "normal"}))
        ->capture_default_str();
    app.add_option("--length", o.length, "tokens")->capture_default_str();
    app.add_option("--q-length", o.q_length, "only the last so many tokens are queries (default all)");
    app.add_option("--q-heads", o.q_heads, "query heads")->capture_default_str();
    app.add_option("--kv-heads", o.kv_heads, "key and value heads; divides --q-heads")->capture_default_str();
    app.add_option("--head-dim", o.head_dim, "channels of a head, even")->capture_default_str();
    app.add_option("--problems", o.problems, "problems, with seeds SEED, SEED + 1, ...")->capture_default_str();
    app.add_option("--seed", o.seed, "seed")->capture_default_str();
    app.add_option("--dtype", o.dtype, "float16 or bfloat16")
        ->check(CLI::IsMember({"float16", "bfloat16"}))
        ->capture_default_str();
    app.add_option("--rope-theta", o.rope_theta, "base of the rotary embedding")->capture_default_str();
    app.add_option("--threads", o.threads, "threads (default all); the values do not depend on it")
        ->check(CLI::Range(0, 1024));
    app.add_flag("--force", force_, "overwrite an existing file");
    app.add_flag("-q,--quiet", quiet_, "no progress");
    for (const std::string name : kStrengthNames) {
      StrengthRange* range = &strength_range(o, name);
      app.add_option_function<std::string>(
             "--" + name, [range, name](const std::string& text) { *range = parse_range(name, text); },
             describe(name) + "; logits, drawn per query head")
          ->type_name("LOW..HIGH")
          ->default_str(fmt::format("{}..{}", range->low, range->high))
          ->group("Strengths of structured");
    }
  }
  ExitCode run(const std::string&) override {
    if (!force_ && std::filesystem::exists(out_) && !std::filesystem::is_directory(out_))
      throw UsageError(fmt::format("{} exists; --force overwrites it", out_));
    options_.check();
    catch_interrupts();
    const StatusLine line(quiet_);
    try {
      write_synthetic(options_, out_, [&](double share) {
        line.show(fmt::format("{}{:.0f}%", line.eta(share, 1), 100 * share));
        return !interrupted;
      });
    } catch (const Stopped&) {
      line.wipe();
      fmt::print(stderr, "salebench: interrupted; {} was not written\n", out_);
      return kInterrupted;
    }
    line.wipe();
    const double size = double(std::filesystem::file_size(out_)) / (1 << 20);
    if (!quiet_)
      fmt::print(stderr, "{}: {} problems, {:.1f} MiB, {}\n", out_, options_.problems, size,
                 duration_text(line.seconds()));
    return kAllDone;
  }

 private:
  SyntheticOptions options_;
  std::string out_;
  bool force_ = false, quiet_ = false;
};

SALEBENCH_VERB(Synth);

}  // namespace
}  // namespace salebench
