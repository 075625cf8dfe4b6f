#include "datasets/import/import.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "core/hdf5.h"
#include "harness/support/interrupts.h"
#include "harness/support/status_line.h"
#include "harness/verbs/verb.h"

namespace salebench {
namespace {

class Import : public Verb {
 public:
  std::string name() const override { return "import"; }
  std::string help() const override {
    return "make a capture of .npy, .npz or .safetensors files: salebench import dumps/ -o mine.h5";
  }

  void add(CLI::App& app) override {
    ImportOptions& o = options_;
    app.add_option("files", o.inputs,
                   "one .npz or .safetensors with q, k and v, or three files in this order; or folders and files with "
                   "those of several layers, which their names tell: layers.3.q, layer3_q.npy")
        ->required();
    app.add_option("-o,--out", o.out, "capture to write")->required();
    app.add_flag("--force", o.force, "overwrite the capture");
    app.add_flag("--append", o.append, "add to the capture, if there is one");
    app.add_option("--id", o.id, "name of the problem (default: that of the file)");
    app.add_option("--layout", o.layout, "order of the axes: heads, length, dim, and batch (default hld)")
        ->check(CLI::IsMember({"hld", "lhd", "bhld", "blhd"}));
    app.add_option("--batch", o.batch, "which one of a batch (default 0)")->check(CLI::NonNegativeNumber);
    app.add_option(
        "--keys", o.keys,
        "names of the tensors: q=NAME,k=NAME,v=NAME (default q or query, ...); with {layer} for the number of "
        "one of several layers: q=model.{layer}.q,...");
    app.add_option("--dtype", o.dtype, "of the capture (default: bfloat16 for bfloat16 tensors, else float16)")
        ->check(CLI::IsMember({"float16", "bfloat16"}));
    app.add_flag("!--non-causal", o.causal, "every query sees every key");
    app.add_option("--scale", o.scale, "multiplies q . k (default 1 / sqrt(head_dim))")->check(CLI::PositiveNumber);
    app.add_option("--window", o.window, "keys that a row sees, its own among them (default: all before it)")
        ->check(CLI::PositiveNumber);
    app.add_option("--first-key", o.first_key, "first key that the mask shows; those before it are left padding")
        ->check(CLI::NonNegativeNumber);
    app.add_option("--softcap", o.softcap, "logits are capped at this by tanh")->check(CLI::PositiveNumber);
    app.add_option("--output", o.output,
                   "the model's own attention output, shaped as q: a file, or the name of a tensor of the input; of "
                   "several layers the word for it in their names, such as `output`")
        ->option_text("FILE_OR_KEY");
    app.add_option("--layer", o.layer, "layer of the model")->check(CLI::NonNegativeNumber);
    app.add_option("--model", o.model, "name of the model, kept with the capture");
    app.add_option("--source", o.source, "where the tensors come from, kept with the capture");
  }

  /// Says what was written, a line a problem.
  ExitCode run(const std::string&) override {
    catch_interrupts();
    try {
      const StatusLine line(false);
      const auto [problems, warnings] = import_capture(options_, [&](double share) {
        line.show(fmt::format("importing: {:.0f}%", 100 * share));
        return !interrupted;
      });
      line.wipe();
      for (const std::string& warning : warnings) spdlog::warn("{}", warning);
      for (const CaptureProblem& problem : problems) {
        const Shape& s = problem.shape;
        fmt::print("{}: {}, q [{}, {}, {}], k and v [{}, {}, {}], {}\n", options_.out, problem.id, s.q_heads, s.q_len,
                   s.head_dim, s.kv_heads, s.kv_len, s.head_dim, problem.dtype);
      }
    } catch (const Stopped&) {
      fmt::print(stderr, "interrupted; {} was not written\n", options_.out);
      return kInterrupted;
    }
    return kAllDone;
  }

 private:
  ImportOptions options_;
};

SALEBENCH_VERB(Import);

}  // namespace
}  // namespace salebench
