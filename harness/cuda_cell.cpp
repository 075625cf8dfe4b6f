// A cell on a CUDA device: one run with every check, then the timed ones, each checked against it.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/registry.h"
#include "harness/cell_backends.h"
#include "harness/cell_work.h"
#include "harness/changed_tensors.h"
#include "harness/cuda_baseline.h"
#include "harness/cuda_problem.h"
#include "harness/gpu_state.h"
#include "kernels/cuda/devices.h"
#include "kernels/cuda/repeat_check.h"

namespace salebench {
namespace {

constexpr cuda::Stream kStream = nullptr;

cuda::Dtype dtype_of(const ProblemInfo& problem) {
  return problem.dtype == "float16" ? cuda::Dtype::fp16 : cuda::Dtype::bf16;
}

/// The method under test with its buffers on the device.
class DeviceBench {
 public:
  DeviceBench(const Plan& plan, const PlannedCell& cell, ProblemTensors& tensors)
      : plan_(plan),
        cell_(cell),
        values_(tensors),
        host_(tensors.view()),
        method_(prepared_method(plan, cell, host_, remark_)),
        tensors_(host_, dtype_of(*cell.problem)),
        truth_(tensors_.problem()),
        mask_(grid_of(*method_, host_), host_.shape.q_heads),
        mask_bits_(mask_.bits().size()),
        out_(host_.shape),
        expected_bits_(mask_.bits().size()),
        expected_(out_.output.bytes()),
        compare_(cuda::compare_values_bytes()),
        difference_(1),
        mask_check_(1) {
    if (const char* why = cuda::why_unsupported(mask_.view().grid.block)) throw Unsupported(why);
    bound_ = method_->on_device(inputs());
    remark_ = joined(remark_, bound_->remark());
    if (!bound_->has_selection() && method_->has_selection() && method_->role() == Role::method)
      remark_ = joined(remark_, "mask made on the CPU: no selection to time");
  }

  /// The mask that the accuracy pass found.
  const BlockMask& mask() const { return mask_; }
  const std::string& remark() const { return remark_; }
  const std::string& baseline_kernel() const { return baseline_kernel_; }

  /// One untimed run with every check; the timed ones must repeat it. `sampled` asks for the rows of a truth in double
  /// precision instead of all rows.
  ProblemAccuracy accuracy(const Truth* sampled) {
    poison();
    for (const auto& phase : {std::function([this] { bound_->select(kStream); }), index_phase(), attend_phase()})
      phase();
    cuda::copy_to_host(mask_.bits().data(), mask_bits_.data(), mask_bits_.bytes(), kStream);
    require_visible();
    cuda::copy_on_device(expected_bits_.data(), mask_bits_.data(), mask_bits_.bytes(), kStream);
    cuda::copy_on_device(expected_.data(), out_.output.data(), expected_.bytes(), kStream);
    require_finite();
    const std::int64_t extra = method_->extra_pairs(host_);
    return sampled ? measure_on_host(tensors_.problem(), host_, *sampled, mask_, out_, extra)
                   : measure_on_device(tensors_.problem(), truth_, device_mask(), out_, extra);
  }

  /// Times the method. Throws Incorrect if any sample does not repeat the accuracy pass.
  Samples time(const std::string& name) {
    const MeasureConfig& config = plan_.sweep.measure;
    const bool cold = config.cache == "cold";
    std::vector<std::function<void()>> phases;
    if (bound_->has_selection()) phases.emplace_back([this] { bound_->select(kStream); });
    if (bound_->has_index()) phases.push_back(index_phase());
    phases.push_back(attend_phase());
    cuda::DeviceTimer timer(phases.size(), cold);
    TimedWork work;
    work.has_selection = bound_->has_selection();
    work.has_index = bound_->has_index();
    work.sample = [&] { return sample(timer, phases); };
    work.changed = [&] { run_changed(timer, phases); };
    std::optional<CudaBaseline> baseline;
    if (config.baseline != "none") {
      baseline.emplace(config.baseline, inputs(), cold);
      baseline_kernel_ = baseline->kernel();
      work.baseline = [&] { return baseline->sample(); };
    }
    Samples samples = measure(name, work, config, plan_.sweep.seed, plan_.quick);
    if (not_held_ > 0) remark_ = joined(remark_, fmt::format("{} samples with launch gaps", not_held_));
    return samples;
  }

 private:
  MaskView device_mask() const { return {mask_.view().grid, host_.shape.q_heads, mask_bits_.data()}; }
  cuda::DeviceInputs inputs() const {
    return {tensors_.problem(), host_, device_mask(), out_.view(), truth_.lse.data()};
  }
  std::function<void()> index_phase() {
    return [this] { bound_->index(kStream); };
  }
  std::function<void()> attend_phase() {
    return [this] { bound_->attend(kStream); };
  }

  void poison() {
    cuda::fill_bytes(mask_bits_.data(), mask_bits_.bytes(), 0xff, kStream);
    cuda::fill_bytes(out_.output.data(), out_.output.bytes(), 0xff, kStream);
    cuda::fill_bytes(out_.lse.data(), out_.lse.bytes(), 0xff, kStream);
  }

  PhaseTimes sample(cuda::DeviceTimer& timer, std::span<const std::function<void()>> phases) {
    const auto before = [this] {
      poison();
      if (!bound_->has_selection()) bound_->select(kStream);
    };
    const cuda::DeviceSample s = timer.sample(before, phases, kStream);
    not_held_ += !s.held;
    check_repeat();
    auto next = s.seconds.begin();
    PhaseTimes times;
    if (bound_->has_selection()) times.select = *next++;
    if (bound_->has_index()) times.index = *next++;
    times.attend = *next;
    times.sm_clock_mhz = s.sm_clock_mhz;
    return times;
  }

  /// A sample on changed tensors, which are changed back afterwards. Values that the method has for each head were
  /// uploaded when it was bound, so they keep their places; what is right is then computed by a method bound anew.
  void run_changed(cuda::DeviceTimer& timer, std::span<const std::function<void()>> phases) {
    const std::vector<std::uint32_t> bits = expected_bits_.host(kStream);
    std::vector<std::uint16_t> output(expected_.bytes() / 2);
    cuda::copy_to_host(output.data(), expected_.data(), expected_.bytes(), kStream);
    {
      const auto without_head_values = cell_.make();
      // A mask that was made once stays, so that heads must stay in their places too.
      const ChangedTensors changed(values_, *without_head_values,
                                   bound_->has_selection() && method_->treats_heads_alike());
      tensors_.upload(host_);
      if (changed.known_answer() && !has_head_values())
        expect(changed.turn().mask(mask_).bits(),
               changed.turn().output(std::span<const std::uint16_t>(output),
                                     [](std::uint16_t x) { return std::uint16_t(x ^ 0x8000); }));
      else
        compute_anew();
      on_changed_tensors([&] { sample(timer, phases); });
    }
    tensors_.upload(host_);
    expect(bits, output);
  }

  bool has_head_values() const {
    const Params params = method_->params();
    return std::ranges::any_of(params, [](const Param& p) { return p.knob() && !p.knob()->of_head.empty(); });
  }

  /// What the samples that follow must repeat.
  void expect(std::span<const std::uint32_t> bits, const std::vector<std::uint16_t>& output) {
    cuda::copy_to_device(expected_bits_.data(), bits.data(), bits.size_bytes(), kStream);
    cuda::copy_to_device(expected_.data(), output.data(), expected_.bytes(), kStream);
  }

  /// Expects what a method bound anew gives for the tensors as they are.
  void compute_anew() {
    const auto fresh = method_->on_device(inputs());
    poison();
    fresh->select(kStream);
    fresh->index(kStream);
    fresh->attend(kStream);
    cuda::copy_on_device(expected_bits_.data(), mask_bits_.data(), mask_bits_.bytes(), kStream);
    cuda::copy_on_device(expected_.data(), out_.output.data(), expected_.bytes(), kStream);
  }

  cuda::ValueDifference compare_with_expected() const {
    cuda::compare_values(cuda::value_type(tensors_.problem().dtype), out_.output.data(), expected_.data(),
                         expected_.bytes() / 2, compare_.data(), difference_.data(), kStream);
    return difference_.host(kStream)[0];
  }

  void check_repeat() const {
    cuda::count_differing_words(mask_bits_.data(), expected_bits_.data(), mask_bits_.size(), mask_check_.data(),
                                kStream);
    if (mask_check_.host(kStream)[0] > 0) throw_other_tiles();
    const cuda::ValueDifference d = compare_with_expected();
    if (d.differing > 0 && !(d.relative_l2() <= kRepeatTolerance)) throw_other_output(d.relative_l2());
  }

  void require_finite() const {
    if (compare_with_expected().not_finite == 0) return;
    std::vector<std::uint16_t> bits(expected_.bytes() / 2);
    cuda::copy_to_host(bits.data(), expected_.data(), expected_.bytes(), kStream);
    const std::uint16_t exponent = tensors_.problem().dtype == cuda::Dtype::fp16 ? 0x7c00 : 0x7f80;
    for (std::size_t i = 0; i < bits.size(); ++i)
      if ((bits[i] & exponent) == exponent) throw_not_finite(std::numeric_limits<double>::quiet_NaN(), i, host_.shape);
  }

  void require_visible() const {
    cuda::find_future_tile(device_mask(), mask_check_.data(), kStream);
    const auto tile = cuda::future_tile(mask_check_.host(kStream)[0], mask_.view().grid);
    if (tile) throw_unseen_tile(tile->head, tile->q_block, tile->k_block);
  }

  const Plan& plan_;
  const PlannedCell& cell_;
  ProblemTensors& values_;
  HostProblem host_;
  std::string remark_, baseline_kernel_;
  std::unique_ptr<Method> method_;
  DeviceTensors tensors_;
  DeviceTruth truth_;
  BlockMask mask_;
  cuda::DeviceVector<std::uint32_t> mask_bits_;
  DeviceOutput out_;
  cuda::DeviceVector<std::uint32_t> expected_bits_;  // of the accuracy pass, as the next
  cuda::DeviceBuffer expected_, compare_;
  cuda::DeviceVector<cuda::ValueDifference> difference_;
  cuda::DeviceVector<std::uint64_t> mask_check_;  // what the last check of a mask wrote
  std::unique_ptr<cuda::DeviceMethod> bound_;
  int not_held_ = 0;
};

/// JSON of nvidia-smi's readings; empty where there are none. Figures that the device does not tell become null.
std::string gpu_state_json(const std::string& uuid) {
  const std::optional<GpuState> s = read_gpu_state(uuid);
  if (!s) return "";
  return nlohmann::json({{"temperature_c", s->temperature_c},
                         {"power_w", s->power_w},
                         {"power_limit_w", s->power_limit_w},
                         {"sm_clock_mhz", s->sm_clock_mhz},
                         {"memory_clock_mhz", s->memory_clock_mhz},
                         {"performance_state", s->performance_state},
                         {"throttle", s->throttle}})
      .dump();
}

}  // namespace

void run_cuda_cell(const Plan& plan, const PlannedCell& cell, const TruthCache& cache, CellResult& result) {
  const CudaDevices found = cuda_devices();
  if (found.devices.empty()) throw Unsupported(found.why_none);
  cuda::reset_device_bytes_peak();  // an earlier cell of this process may have held more
  result.cell.device = found.devices[0].name;
  const ProblemTensors single = load_problem(cell);
  ProblemTensors tensors = apply_view(single, {0, cell.repeat});
  std::optional<Truth> sampled;
  if (plan.sweep.truth_rows > 0)
    sampled = repeat_heads(cache.get({cell.truth_fingerprint, plan.sweep.truth_rows, plan.sweep.seed}, single.view()),
                           cell.repeat);
  DeviceBench bench(plan, cell, tensors);
  const ProblemAccuracy accuracy = bench.accuracy(sampled ? &*sampled : nullptr);
  result.cell.gpu_before = gpu_state_json(found.devices[0].uuid);
  const Samples samples = bench.time(cell.id);
  result.cell.gpu_after = gpu_state_json(found.devices[0].uuid);
  record_accuracy(accuracy, result);
  record_times(samples, plan.quick, plan.sweep.seed, result);
  result.cell.reason = bench.remark();
  result.cell.baseline_kernel = bench.baseline_kernel();
  result.cell.truth_rows = sampled ? std::int64_t(sampled->rows.size()) : cell.shape().q_len;
  result.cell.device_bytes_peak = double(cuda::device_bytes_peak());
  if (plan.sweep.save_masks) result.mask = bench.mask();
}

std::string why_not_on_cuda(const PlannedCell& cell) {
  const ProblemInfo& problem = *cell.problem;
  if (problem.dtype != "float16" && problem.dtype != "bfloat16")
    return fmt::format("{} values: the CUDA kernels take float16 and bfloat16", problem.dtype);
  const char* why = cuda::why_unsupported(cell.shape(), float(problem.scale));
  return why ? why : "";
}

}  // namespace salebench
