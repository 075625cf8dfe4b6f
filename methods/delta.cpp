// Delta Attention (arXiv 2505.11254): a correction on top of any sparse attention. The first row of every `stride` rows
// is computed again over all its keys; what that changes, dense - sparse, is added to all rows of its stride. The last
// rows, at least max(128, stride), are dense. The mask, and with it the recall, is that of the base.
// Defaults: stride 64, the authors', over a smaller window than theirs, which is base_params "sink=1024 local=2048".
#include <fmt/format.h>

#include <sstream>

#include "core/registry.h"
#include "kernels/cpu/attention.h"

namespace salebench {
namespace {

/// "sink=64 local=2048" to names and values. Throws ParamError.
ParamValues parse_values(const std::string& text) {
  ParamValues values;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos) throw ParamError(fmt::format("'{}' is not name=value", word));
    values[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return values;
}

}  // namespace

class Delta : public Method {
  std::string base_name_ = "streaming", base_text_;
  enum class Mode { correct, recompute } mode_ = Mode::correct;
  int stride_ = 64;
  Knob knob_;
  std::unique_ptr<Method> base_;
  std::string made_from_;      // the texts that base_ was made of
  Knob* base_knob_ = nullptr;  // of base_; null for a base without one

 public:
  Delta() { make_base(); }

  Params params() override {
    make_base();
    Params list = {
        {"base", "the method that is corrected", FreeText::name, &base_name_},
        {"base_params", "parameters of the base: name=value, separated by spaces", FreeText::name, &base_text_},
        {"mode",
         "delta: correct whole strides; recompute: only the rows computed again",
         {{"delta", Mode::correct}, {"recompute", Mode::recompute}},
         &mode_},
        {"stride", "of each `stride` rows the first is computed again", 1, 1 << 20, &stride_}};
    for (const Param& param : base_->params()) {
      if (!param.knob()) continue;
      const std::string help = fmt::format("the base's `{}`: {}", param.name(), param.help());
      list.push_back(param.type() == "int" ? Param("knob", help, int(param.low()), int(param.high()), &knob_)
                                           : Param("knob", help, param.low(), param.high(), &knob_));
      if (knob_.per_head) list.push_back(calibration_file("knobs", &knob_));
    }
    return list;
  }
  BlockSize block() const override { return base().block(); }
  std::optional<Window> window() const override { return base().window(); }
  Role role() const override { return base().role(); }
  bool keeps_diagonal() const override { return base().keeps_diagonal(); }
  bool exact_attend() const override { return false; }
  bool chooses_arithmetic() const override { return false; }
  bool honours_sliding_window() const override { return base().honours_sliding_window(); }
  About about() const override {
    return {
        "Delta Attention (arXiv 2505.11254), github.com/jeffwillette/delta-attention b1b2f77",
        "that of the base, and dense attention of the first row of each stride",
        "the tiles of the base; dense - sparse of a stride's first row is added to its rows, the last rows are dense",
        "any base in place of the authors' two (sliding window, HiP), by default a smaller window than their sink=1024 "
        "local=2048; any stride, where theirs divides 128 or exceeds it: the dense rows at the end begin at a "
        "multiple of it; a pair that the base and the correction compute, as there, counts twice"};
  }

  bool causal_only() const override { return true; }
  void check_shape(const Shape& shape) const override { base().check_shape(shape); }
  std::string remark(const Shape& shape) const override {
    std::string text = base().remark(shape);
    if (tail_begin(shape) == 0) text += fmt::format("{}short input: all rows dense", text.empty() ? "" : "; ");
    return text;
  }
  void prepare(const HostProblem& p, const std::string& id) override { base_->prepare(p, id); }
  void select(const HostProblem& p, MaskView mask) const override { base().select(p, mask); }
  void select_fast(const HostProblem& p, MaskView mask) const override { base().select_fast(p, mask); }

  std::int64_t extra_pairs(const HostProblem& p) const override {
    std::int64_t pairs = base().extra_pairs(p);
    const int tail = tail_begin(p.shape);
    for (int row = 0; row < p.shape.q_len; row += row < tail ? stride_ : 1) pairs += p.key_end(row) - p.key_begin(row);
    return pairs;
  }

  /// The log-sum-exp stays that of the base, but for the dense rows at the end.
  void attend(const HostProblem& p, ConstMaskView mask, AttentionView out) const override {
    base().attend(p, mask, out);
    const int tail = tail_begin(p.shape);
    correct_strides(p, tail, out);
    replace_tail(p, tail, out);
  }

 private:
  /// The first of the rows at the end that are dense; a multiple of the stride.
  int tail_begin(const Shape& s) const { return std::max(0, s.q_len - std::max(128, stride_)) / stride_ * stride_; }

  void correct_strides(const HostProblem& p, int tail, AttentionView out) const {
    const std::size_t dim = p.shape.head_dim, strides = tail / stride_;
    std::vector<float> dense(p.shape.q_heads * strides * dim), lse(p.shape.q_heads * strides);
    cpu::dense_attention_of_rows(p, 0, tail, stride_, {dense, lse});
    const int corrected = mode_ == Mode::correct ? stride_ : 1;
#pragma omp parallel for collapse(2)
    for (int head = 0; head < p.shape.q_heads; ++head) {
      for (std::size_t stride = 0; stride < strides; ++stride) {
        const float* exact = &dense[(head * strides + stride) * dim];
        float* first = &out.output[(std::size_t(head) * p.shape.q_len + stride * stride_) * dim];
        for (std::size_t d = 0; d < dim; ++d) {
          const float delta = exact[d] - first[d];
          for (int row = 0; row < corrected; ++row) first[row * dim + d] += delta;
        }
      }
    }
  }

  void replace_tail(const HostProblem& p, int tail, AttentionView out) const {
    const std::size_t dim = p.shape.head_dim, rows = p.shape.q_len - tail;
    std::vector<float> dense(p.shape.q_heads * rows * dim), lse(p.shape.q_heads * rows);
    cpu::dense_attention_of_rows(p, tail, p.shape.q_len, 1, {dense, lse});
    for (int head = 0; head < p.shape.q_heads; ++head) {
      const std::size_t row = std::size_t(head) * p.shape.q_len + tail;
      std::copy_n(&dense[head * rows * dim], rows * dim, &out.output[row * dim]);
      std::copy_n(&lse[head * rows], rows, &out.lse[row]);
    }
  }

  /// Makes the base anew if its texts have changed; the knob is then the base's. Throws ParamError naming the
  /// parameter.
  void make_base() {
    const std::string texts = fmt::format("{} {}", base_name_, base_text_);
    if (texts == made_from_) return;
    if (base_name_ == "delta") throw ParamError("base: delta can't correct itself");
    std::unique_ptr<Method> base;
    try {
      base = make_method(base_name_);
    } catch (const ParamError& error) {
      throw ParamError(fmt::format("base: {}", error.what()));
    }
    if (!base->has_selection())
      throw ParamError(fmt::format("base: {} has no selection of its own to correct", base_name_));
    try {
      base = make_method(base_name_, parse_values(base_text_));
    } catch (const ParamError& error) {
      throw ParamError(fmt::format("base_params: {}: {}", base_name_, error.what()));
    }
    base_knob_ = nullptr;
    for (const Param& param : base->params()) {
      if (param.type() == "path" && !param.text().empty())
        throw ParamError(fmt::format("base_params: {} names a file; give it to `knobs`", param.name()));
      if (param.knob()) base_knob_ = param.knob(), knob_ = *param.knob();
    }
    base_ = std::move(base);
    made_from_ = texts;
  }

  /// The base, with the seed and the knob of this method.
  const Method& base() const {
    base_->set_seed(seed());
    if (base_knob_) base_knob_->value = knob_.value, base_knob_->of_head = knob_.of_head;
    return *base_;
  }
};

SALEBENCH_METHOD(Delta, "delta", 1, "Delta Attention: a dense row of each stride corrects the rows of another method");

}  // namespace salebench
