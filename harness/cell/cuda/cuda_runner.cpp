#include "harness/cell/cuda/cuda_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>

#include "core/json_text.h"
#include "harness/cell/cuda/cuda_baseline.h"
#include "harness/cell/cuda/cuda_problem.h"
#include "harness/cell/cuda/gpu_state.h"
#include "kernels/cuda/check/repeat_check.h"
#include "kernels/cuda/device/device_timer.h"
#include "kernels/cuda/device/devices.h"

namespace salebench {
namespace {

constexpr cuda::Stream kStream = nullptr;

cuda::Dtype dtype_of(const ProblemInfo& problem) {
  return problem.dtype == "float16" ? cuda::Dtype::fp16 : cuda::Dtype::bf16;
}

/// Mask and output as they lie in device memory, kept on the host.
struct Found {
  std::vector<std::uint32_t> bits;
  std::vector<std::uint16_t> output;
};

class CudaRunner : public Runner {
 public:
  explicit CudaRunner(const RunnerInputs& in)
      : in_(in),
        host_(in.tensors.view()),
        tensors_(host_, dtype_of(in.problem)),
        truth_(tensors_.problem()),
        grid_(grid_of(in.method, host_)),
        mask_bits_(BlockMask(grid_, host_.shape.q_heads).bits().size()),
        out_(host_.shape),
        expected_bits_(mask_bits_.size()),
        expected_(out_.output.bytes()),
        compare_(cuda::compare_values_bytes()),
        difference_(1),
        mask_check_(1),
        bound_(cuda::bind(in.method, inputs())) {}

  Shape shape() const override { return host_.shape; }
  bool has_selection() const override { return bound_->has_selection(); }
  bool has_index() const override { return bound_->has_index(); }
  std::string selected_on() const override { return bound_->selected_on(); }
  std::string attend_kernel() const override { return bound_->attend_kernel(); }
  std::string remark() const override {
    std::string text = bound_->remark();
    const auto add = [&](const std::string& more) { text += (text.empty() ? "" : "; ") + more; };
    if (selected_on() == "cpu" && in_.method.role() == Role::method) add("mask made on the CPU: no selection to time");
    if (not_held_ > 0) add(fmt::format("{} samples with launch gaps", not_held_));
    return text;
  }

  void poison() override {
    cuda::fill_bytes(mask_bits_.data(), mask_bits_.bytes(), 0xff, kStream);
    cuda::fill_bytes(out_.output.data(), out_.output.bytes(), 0xff, kStream);
    cuda::fill_bytes(out_.lse.data(), out_.lse.bytes(), 0xff, kStream);
  }
  double select() override {
    exact_.reset();
    bound_->select(kStream);
    return 0;
  }
  double attend(const RowSet&) override {
    bound_->index(kStream);
    bound_->attend(kStream);
    return 0;
  }
  PhaseTimes sample() override {
    if (!timer_) start_timer();
    const auto before = [this] {
      if (!has_selection()) bound_->select(kStream);
    };
    const cuda::DeviceSample s = timer_->sample(before, phases_, kStream);
    not_held_ += !s.held;
    auto next = s.seconds.begin();
    PhaseTimes times;
    if (has_selection()) times.select = *next++;
    if (has_index()) times.index = *next++;
    times.attend = *next;
    times.sm_clock_mhz = s.sm_clock_mhz;
    return times;
  }

  BlockMask mask() const override {
    BlockMask mask(grid_, host_.shape.q_heads);
    mask_bits_.download(mask.bits(), kStream);
    return mask;
  }
  std::optional<std::pair<std::size_t, double>> first_not_finite() const override {
    if (compare_with(out_.output.data()).not_finite == 0) return std::nullopt;
    const std::uint16_t exponent = tensors_.problem().dtype == cuda::Dtype::fp16 ? 0x7c00 : 0x7f80;
    const std::vector<std::uint16_t> bits = bits_of(out_.output);
    const auto found = std::ranges::find_if(bits, [&](std::uint16_t x) { return (x & exponent) == exponent; });
    return std::pair(std::size_t(found - bits.begin()), std::numeric_limits<double>::quiet_NaN());
  }
  void attend_exactly() override {
    exact_ = std::make_unique<DeviceOutput>(host_.shape);
    const cuda::DeviceBuffer lists(cuda::block_index_bytes(grid_, host_.shape.q_heads));
    const auto index = cuda::build_block_index(device_mask(), host_.shape.kv_heads, lists.data(), kStream);
    cuda::block_sparse_attention(tensors_.problem(), index, exact_->view(), kStream);
  }
  std::vector<HeadSums> score(const RowSet& rows) override {
    if (!rows.all()) throw std::logic_error("backend cuda scores all rows that the truth has");
    const DeviceOutput* exact = in_.method.exact_attend() ? &out_ : exact_.get();
    const std::int64_t extra = in_.method.extra_pairs(host_);
    return in_.truth ? sum_on_host(tensors_.problem(), host_, *in_.truth, mask(), out_, exact, extra)
                     : sum_on_device(tensors_.problem(), truth_, device_mask(), out_, exact, extra);
  }
  int scored_rows() const override { return in_.truth ? int(in_.truth->rows.size()) : host_.shape.q_len; }

  void expect_last() override {
    cuda::copy_on_device(expected_bits_.data(), mask_bits_.data(), mask_bits_.bytes(), kStream);
    cuda::copy_on_device(expected_.data(), out_.output.data(), expected_.bytes(), kStream);
    original_ = {};
  }
  bool expect_turned(const HeadTurn& turn) override {
    if (has_head_values()) return false;
    keep_original();
    BlockMask mask(grid_, host_.shape.q_heads);
    std::ranges::copy(original_.bits, mask.bits().begin());
    const BlockMask turned = turn.mask(mask);
    expect({{turned.bits().begin(), turned.bits().end()},
            turn.output(std::span<const std::uint16_t>(original_.output),
                        [](std::uint16_t x) { return std::uint16_t(x ^ 0x8000); })});
    return true;
  }
  void expect_fresh(const Method& fresh) override {
    keep_original();
    const cuda::BoundMethod bound = cuda::bind(fresh, inputs());
    poison();
    bound->select(kStream);
    bound->index(kStream);
    bound->attend(kStream);
    cuda::copy_on_device(expected_bits_.data(), mask_bits_.data(), mask_bits_.bytes(), kStream);
    cuda::copy_on_device(expected_.data(), out_.output.data(), expected_.bytes(), kStream);
  }
  void expect_original() override {
    if (!original_.bits.empty()) expect(original_);
  }
  RepeatDifference difference() const override {
    cuda::count_differing_words(mask_bits_.data(), expected_bits_.data(), mask_bits_.size(), mask_check_.data(),
                                kStream);
    const cuda::ValueDifference d = compare_with(expected_.data());
    return {mask_check_.host(kStream)[0] > 0, d.differing > 0 ? d.relative_l2() : 0};
  }

  /// A mask that was made once stays, so that heads must stay in their places too.
  bool may_turn_heads() const override { return has_selection() && in_.method.treats_heads_alike(); }
  /// They were uploaded when the method was bound.
  bool knobs_follow() const override { return false; }
  void take_tensors() override { tensors_.upload(host_); }

  void start_baseline(const std::string& method) override { baseline_.emplace(method, inputs(), in_.cold); }
  double sample_baseline() override { return baseline_->sample(); }
  std::string baseline_kernel() const override { return baseline_ ? baseline_->kernel() : ""; }

  void note(CellProvenance& provenance) const override {
    const CudaDevice device = cuda_devices().devices[0];
    provenance.device = device.name, provenance.device_uuid = device.uuid;
    provenance.device_bytes_peak = double(cuda::device_bytes_peak());
  }
  std::string readings() const override;

 private:
  MaskView device_mask() const { return {grid_, host_.shape.q_heads, mask_bits_.data()}; }
  cuda::DeviceInputs inputs() const {
    return {tensors_.problem(), host_, device_mask(), out_.view(), truth_.lse.data()};
  }

  void start_timer() {
    if (has_selection()) phases_.emplace_back([this] { bound_->select(kStream); });
    if (has_index()) phases_.emplace_back([this] { bound_->index(kStream); });
    phases_.emplace_back([this] { bound_->attend(kStream); });
    timer_.emplace(phases_.size(), in_.cold);
  }

  bool has_head_values() const {
    const Params params = in_.method.all_params();
    return std::ranges::any_of(params, [](const Param& p) { return p.knob() && !p.knob()->of_head.empty(); });
  }
  static std::vector<std::uint16_t> bits_of(const cuda::DeviceBuffer& output) {
    std::vector<std::uint16_t> bits(output.bytes() / 2);
    cuda::copy_to_host(bits.data(), output.data(), output.bytes(), kStream);
    return bits;
  }
  /// Before anything else is expected than what expect_last() kept.
  void keep_original() {
    if (original_.bits.empty()) original_ = {expected_bits_.host(kStream), bits_of(expected_)};
  }
  void expect(const Found& found) {
    expected_bits_.upload(found.bits, kStream);
    cuda::copy_to_device(expected_.data(), found.output.data(), expected_.bytes(), kStream);
  }
  cuda::ValueDifference compare_with(const void* expected) const {
    cuda::compare_values(cuda::value_type(tensors_.problem().dtype), out_.output.data(), expected,
                         expected_.bytes() / 2, compare_.data(), difference_.data(), kStream);
    return difference_.host(kStream)[0];
  }

  RunnerInputs in_;
  HostProblem host_;
  DeviceTensors tensors_;
  DeviceTruth truth_;
  BlockGrid grid_;
  cuda::DeviceVector<std::uint32_t> mask_bits_;
  DeviceOutput out_;
  cuda::DeviceVector<std::uint32_t> expected_bits_;
  cuda::DeviceBuffer expected_, compare_;
  cuda::DeviceVector<cuda::ValueDifference> difference_;
  cuda::DeviceVector<std::uint64_t> mask_check_;  // words that differ, at the last check
  std::unique_ptr<DeviceOutput> exact_;           // of attend_exactly()
  Found original_;                                // once something else is expected
  cuda::BoundMethod bound_;
  std::vector<std::function<void()>> phases_;
  std::optional<cuda::DeviceTimer> timer_;
  std::optional<CudaBaseline> baseline_;
  int not_held_ = 0;
};

/// nvidia-smi's; figures that the device does not tell become null.
std::string CudaRunner::readings() const {
  const std::optional<GpuState> s = read_gpu_state(cuda_devices().devices[0].uuid);
  if (!s) return "";
  return json_text({{"temperature_c", s->temperature_c},
                    {"power_w", s->power_w},
                    {"power_limit_w", s->power_limit_w},
                    {"sm_clock_mhz", s->sm_clock_mhz},
                    {"memory_clock_mhz", s->memory_clock_mhz},
                    {"performance_state", s->performance_state},
                    {"throttle", s->throttle}});
}

}  // namespace

std::unique_ptr<Runner> make_cuda_runner(const RunnerInputs& inputs) {
  cuda::reset_device_bytes_peak();  // an earlier cell of this process may have held more
  return std::make_unique<CudaRunner>(inputs);
}

}  // namespace salebench
