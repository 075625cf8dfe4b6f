// Methods on CUDA devices for tests: the settings to try, a problem with its exact answers, and runs of bound methods.
#pragma once

#include <unistd.h>

#include <array>
#include <filesystem>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "core/reference.h"
#include "core/registry.h"
#include "kernels/cpu/attention.h"
#include "kernels/cuda/dense/dense_kernels.h"
#include "kernels/cuda/device/device_method.h"
#include "results/result_files.h"
#include "tests/kernels/cuda/device.h"
#include "tests/problems.h"

namespace salebench {

/// Where the masks of the CPU and the exact answers come from.
enum class Source {
  plain_and_double,  ///< select(), attention in double precision
  plain_and_float,   ///< select() but for oracles, and the CPU's float32 attention, for some thousands of tokens
  fast_and_float     ///< select_fast(), the same attention, for tens of thousands
};

struct Settings {
  ParamValues values;
  bool per_head = false;  ///< the knob differs from head to head
  /// Share of the knob within which a tile's score may be misjudged, as by 8-bit tensor cores that add up in 16 bits.
  double near_tie = 0;

  std::string text() const { return per_head ? "a knob a head" : values.empty() ? "defaults" : param_text(values); }
};

/// The defaults, every tile on offer, a knob a head, and what else takes a path of its own on a device. None twice.
inline std::vector<Settings> settings_of(const std::string& name) {
  std::vector<Settings> all = {{}};
  const auto defaults = make_method(name);
  for (const Param& param : defaults->all_params()) {
    if (param.name() == "block" && param.type() == "choice")
      for (const std::string& block : kBlockChoices) all.push_back({{{"block", block}}});
    if (param.knob() && param.knob()->per_head) all.push_back({{}, true});
    if (param.name() == "attend")
      for (const char* arithmetic : {"int8", "fp8"}) all.push_back({{{"attend", arithmetic}}});
  }
  if (name == "sale") {
    for (const char* bits : {"4", "8", "16"})
      for (const char* smooth : {"qk", "k", "none"}) all.push_back({{{"bits", bits}, {"smooth", smooth}}});
    for (const char* bits : {"8", "16"}) all.push_back({{{"bits", bits}, {"block", "128x64"}, {"threshold", "0.02"}}});
    for (const char* local : {"1", "9"}) all.push_back({{{"local_blocks", local}}});
    all.push_back({{{"threshold_scaling", "inverse_length"}}});
  }
  if (name == "sale_pooled") {
    const auto add = [&](ParamValues values) {
      values.insert({{"threshold", "0.01"}, {"precision", "fp8"}});
      all.push_back({std::move(values)});
    };
    for (const char* score : {"max", "mass"})
      for (const char* precision : {"exact", "fp8"})
        for (const char* key_pool : {"1", "2", "4"})
          for (const char* row_pool : {"1", "2", "4", "8"})
            add({{"score", score}, {"precision", precision}, {"key_pool", key_pool}, {"row_pool", row_pool}});
    for (const char* score : {"max", "mass"})
      for (const std::string& block : kBlockChoices) add({{"score", score}, {"block", block}});
    add({{"row_stride", "2"}}), add({{"row_stride", "4"}, {"row_pool", "2"}, {"score", "max"}});
    for (const char* local : {"1", "9", "40"}) add({{"local_blocks", local}});
    add({{"threshold_scaling", "inverse_length"}});
    for (Settings& s : all) s.near_tie = 0.1;
  }
  if (name == "block_topk" || name == "oracle_topk")
    for (const auto& [sink, local] : {std::pair{"0", "4"}, {"30", "40"}})
      all.push_back({{{"budget", "0.3"}, {"block", "64x32"}, {"sink", sink}, {"local", local}}});
  if (name == "streaming")
    for (const auto& [sink, local] : {std::pair{"1", "1"}, {"0", "77"}, {"500", "300"}})
      all.push_back({{{"sink", sink}, {"local", local}}});
  if (name == "a_shape") all.push_back({{{"n_init", "65"}, {"n_local", "200"}}});
  if (name == "tri_shape") all.push_back({{{"n_init", "65"}, {"n_local", "200"}, {"n_last", "70"}}});
  if (name == "dense")
    for (const cuda::DenseKernel* kernel : cuda::dense_kernels())
      if (kernel->name() != cuda::kCudnnFp8) all.push_back({{{"kernel", kernel->name()}}});  // cuda_dense_test has it
  std::set<std::pair<bool, ParamValues>> seen;
  std::erase_if(all, [&](const Settings& s) {
    const auto method = make_method(name, s.values);
    return !seen.emplace(s.per_head, param_values(method->all_params())).second;
  });
  return all;
}

/// A file with random causal tiles for `external`, in tiles that are not the default ones.
inline std::string mask_file(const HostProblem& p) {
  CellResult result;
  result.cell.id = "random";
  result.mask.emplace(BlockGrid{{64, 32}, p.shape.q_len, p.shape.kv_len, true, std::nullopt}, p.shape.q_heads);
  const MaskView mask = result.mask->view();
  std::mt19937 random(5);
  for (int head = 0; head < mask.heads; ++head)
    for (int qb = 0; qb < mask.grid.q_blocks(); ++qb)
      for (int kb = 0; kb < mask.grid.causal_end(qb); ++kb)  // also those that a sliding window hides
        if (random() % 4 == 0) mask.keep(head, qb, kb);
  const std::string path =
      std::filesystem::temp_directory_path() / ("salebench_mask_" + std::to_string(::getpid()) + ".h5");
  write_cell(path, result);
  return path;
}

/// A method ready for the problem, with its knob times a factor; nothing where it does not cover it.
inline std::unique_ptr<Method> prepared(const std::string& name, const Settings& settings, const HostProblem& p,
                                        double knob_factor = 1) {
  ParamValues values = settings.values;
  if (name == "external") values["masks"] = mask_file(p);
  auto method = make_method(name, values);
  method->set_seed(11);
  if (settings.per_head && name == "sale_pooled") {  // heads with scans of their own
    const std::array<ParamValues, 4> scans = {
        {{{"row_pool", "8"}, {"key_pool", "4"}, {"precision", "fp8"}},
         {{"row_pool", "1"}, {"key_pool", "2"}, {"score", "max"}, {"precision", "exact"}},
         {{"row_pool", "4"}, {"key_pool", "4"}, {"score", "max"}, {"precision", "fp8"}},
         {{"row_pool", "2"}, {"key_pool", "1"}, {"row_stride", "2"}, {"precision", "fp8"}}}};
    std::vector<ParamValues> of_head;
    for (int head = 0; head < p.shape.q_heads; ++head) of_head.push_back(scans[std::size_t(head) % scans.size()]);
    method->set_head_settings(of_head);
  }
  constexpr std::array kOfHeads = {0.02, 0.0, 0.3, 0.0005, 1.0};
  for (const Param& param : method->all_params())
    for (int head = 0; settings.per_head && param.knob() && head < p.shape.q_heads; ++head)
      param.knob()->of_head.push_back(knob_factor * kOfHeads[std::size_t(head) % kOfHeads.size()]);
  for (const Param& param : method->all_params())
    if (param.knob()) param.knob()->value *= knob_factor;
  try {
    method->check(p.shape, p.causal);
    if (!cuda::why_not(*method, p.shape).empty()) return nullptr;
    method->prepare(p, "random");
  } catch (const Unsupported&) {
    return nullptr;
  }
  if (name == "external") std::filesystem::remove(values["masks"]);
  return method;
}

/// Attention over a mask, or over all keys for none.
inline ReferenceResult exact(const HostProblem& p, const BlockMask* mask, Source source) {
  if (source == Source::plain_and_double) {
    if (!mask) return reference_attention(p);
    const ConstMaskView view = mask->view();
    return reference_attention(p, &view);
  }
  AttentionResult result(p.shape);
  mask ? cpu::block_sparse_attention(p, mask->view(), result.view()) : cpu::dense_attention(p, result.view());
  return {{result.output.begin(), result.output.end()}, {result.lse.begin(), result.lse.end()}};
}

/// What a method wrote on the device.
struct Written {
  BlockMask mask;
  std::vector<std::uint16_t> output;
  std::vector<float> lse;
};

/// A problem on the device, and what every method is compared with.
struct Bench {
  Bench(ProblemTensors tensors, cuda::Dtype dtype, Source from)
      : problem(std::move(tensors), dtype), host(problem.host.view()), source(from), dense(exact(host, nullptr, from)) {
    const DeviceArray<float> output(host.q.size());
    cuda::exact_attention(problem.view(), {output.data(), device_lse.data()}, nullptr);
    check_cuda(cudaDeviceSynchronize());
  }

  RoundedProblem problem;
  HostProblem host;
  Source source;
  ReferenceResult dense;
  DeviceArray<float> device_lse{dense.lse.size()};
};

/// A method bound to the bench's problem.
class BoundRun {
 public:
  BoundRun(const Method& method, const Bench& bench)
      : grid_(grid_of(method, bench.host)),
        heads_(bench.host.shape.q_heads),
        bits_(BlockMask(grid_, heads_).bits().size()),
        output_(bench.host.q.size()),
        lse_(bench.dense.lse.size()),
        bound_(cuda::bind(method, {bench.problem.view(),
                                   bench.host,
                                   {grid_, heads_, bits_.data()},
                                   {output_.data(), lse_.data()},
                                   bench.device_lse.data()})) {}

  /// Runs all phases, with every byte that they should write set to `before`.
  Written run(int before) {
    check_cuda(cudaMemset(bits_.data(), before, bits_.size() * sizeof(std::uint32_t)));
    check_cuda(cudaMemset(output_.data(), before, output_.size() * sizeof(std::uint16_t)));
    check_cuda(cudaMemset(lse_.data(), before, lse_.size() * sizeof(float)));
    bound_->select(nullptr);
    bound_->index(nullptr);
    bound_->attend(nullptr);
    check_cuda(cudaDeviceSynchronize());
    Written written{BlockMask(grid_, heads_), output_.host(), lse_.host()};
    std::ranges::copy(bits_.host(), written.mask.bits().begin());
    return written;
  }

 private:
  BlockGrid grid_;
  int heads_;
  DeviceArray<std::uint32_t> bits_;
  DeviceArray<std::uint16_t> output_;
  DeviceArray<float> lse_;
  std::unique_ptr<cuda::DeviceMethod> bound_;
};

}  // namespace salebench
