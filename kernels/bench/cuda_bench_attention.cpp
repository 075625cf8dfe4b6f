// Attention kernels side by side: the dense ones, and ours over random masks. They take turns within a round, each
// after a flushed L2, and the first turn moves on from round to round, so that all meet the same heat and power.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "core/stats.h"
#include "kernels/bench/cuda_bench.h"
#include "kernels/cuda/check/metrics.h"
#include "kernels/cuda/dense/dense_kernels.h"

namespace salebench::cuda {
namespace {

constexpr int kWarmUps = 2;
constexpr int kRounds = 15;
constexpr int kLow = 3, kHigh = 11;  // these of 15 ordered samples hold the median with 96 % confidence

class Entrant {
 public:
  explicit Entrant(std::string name) : name(std::move(name)) {}
  virtual ~Entrant() = default;
  virtual void run() = 0;

  const std::string name;
  double kept = 1;      ///< share of the visible (row, key) pairs
  double index_ms = 0;  ///< time of making the lists
  bool exact_dense = false;
  std::vector<double> seconds, clocks_mhz;
};

class DenseEntrant : public Entrant {
 public:
  DenseEntrant(const DenseKernel& kernel, const Case& c, bool rounds)
      : Entrant(kernel.name() + ' ' + (rounds ? "and rounding" : kernel.version())),
        rounds_(rounds),
        plan_(kernel.plan(c.p, c.out)),
        workspace_(plan_->workspace_bytes()) {
    exact_dense = !plan_->rounds();
    plan_->prepare(workspace_.data(), nullptr);
    plan_->run(workspace_.data(), nullptr);  // rounds what run_rounded() reads
  }
  void run() override {
    rounds_ ? plan_->run(workspace_.data(), nullptr) : plan_->run_rounded(workspace_.data(), nullptr);
  }

 private:
  bool rounds_;
  std::unique_ptr<DensePlan> plan_;
  DeviceBuffer workspace_;
};

class SparseEntrant : public Entrant {
 public:
  SparseEntrant(const Case& c, const BlockSize& block, double density, const std::string& how)
      : Entrant(std::to_string(block.q) + " x " + std::to_string(block.k) + " " + how),
        case_(c),
        mask_(c, block),
        lists_(block_index_bytes(mask_.view().grid, c.p.shape.q_heads)) {
    random_tiles(mask_.view(), density);
    const DeviceVector<MaskCounts> counts(c.p.shape.q_heads);
    count_masks(mask_.view(), counts.data(), nullptr);
    MaskCounts all;
    for (const MaskCounts& one : counts.host(nullptr)) all.add(one);
    kept = double(all.tokens) / double(all.dense_tokens);
    StepTimer timer(false);
    index_ms = 1e3 * timer.median({[this] {
      index_ = build_block_index(mask_.view(), case_.p.shape.kv_heads, lists_.data(), nullptr);
    }})[0];
  }
  void run() override { block_sparse_attention(case_.p, index_, case_.out, nullptr); }

 protected:
  const Case& case_;
  BlockIndex index_;

 private:
  CaseMask mask_;
  DeviceBuffer lists_;
};

/// From 8-bit operands, with or without their rounding.
class LowBitEntrant : public SparseEntrant {
 public:
  LowBitEntrant(const Case& c, const BlockSize& block, double density, Operands operands, bool rounds)
      : SparseEntrant(c, block, density,
                      std::string(operands == Operands::fp8 ? "fp8" : "int8") + (rounds ? " and rounding" : "")),
        operands_(operands),
        rounds_(rounds),
        workspace_(low_bit_bytes(c.p.shape, operands)),
        rounded_(round_operands(c.p, operands, workspace_.data(), nullptr)) {}
  void run() override {
    if (rounds_) round_operands(case_.p, operands_, workspace_.data(), nullptr);
    low_bit_attention(case_.p, rounded_, index_, case_.out, nullptr);
  }

 private:
  Operands operands_;
  bool rounds_;
  DeviceBuffer workspace_;
  LowBitProblem rounded_;
};

std::vector<std::unique_ptr<Entrant>> make_entrants(const Case& c, const AttentionBench& how) {
  std::vector<std::unique_ptr<Entrant>> entrants;
  for (const DenseKernel* kernel : dense_kernels()) {
    if (!how.dense.empty() && !how.dense.contains(kernel->name())) continue;
    const std::string why = kernel->why_not(c.p.shape, c.p.causal, c.p.scale, c.p.dtype);
    if (!why.empty())
      std::printf("%7d  %-10s left out: %s\n", c.p.shape.kv_len, kernel->name().c_str(), why.c_str());
    else
      for (const bool rounds : {false, true})
        if (!rounds || kernel->name() == kCudnnFp8)
          entrants.push_back(std::make_unique<DenseEntrant>(*kernel, c, rounds));
  }
  for (const BlockSize& block : how.tiles)
    for (const double density : how.densities) {
      entrants.push_back(std::make_unique<SparseEntrant>(c, block, density, to_string(fastest_kernel())));
      for (const Operands operands : how.operands)
        for (const bool rounds : {false, true})
          entrants.push_back(std::make_unique<LowBitEntrant>(c, block, density, operands, rounds));
    }
  return entrants;
}

void take_turns(std::vector<std::unique_ptr<Entrant>>& entrants, int pause_ms) {
  DeviceTimer timer(1, true);
  const int count = int(entrants.size());
  for (int round = -kWarmUps; round < kRounds; ++round)
    for (int turn = 0; turn < count; ++turn) {
      Entrant& entrant = *entrants[std::size_t((turn + round + kWarmUps) % count)];
      std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms));
      const std::function<void()> run = [&] { entrant.run(); };
      const DeviceSample sample = timer.sample({}, {&run, 1}, nullptr);
      if (round < 0) continue;
      entrant.seconds.push_back(sample.total);
      entrant.clocks_mhz.push_back(sample.sm_clock_mhz);
    }
  for (auto& entrant : entrants) std::ranges::sort(entrant->seconds);
}

}  // namespace

void bench_attention(int length, const AttentionBench& how) {
  const Case c(length, how.head_dim);
  auto entrants = make_entrants(c, how);
  take_turns(entrants, how.pause_ms);
  const auto rate = [&](const Entrant& e) { return 1e-12 * c.dense_flops * e.kept / e.seconds[kRounds / 2]; };
  double fastest_dense = 0;
  for (const auto& e : entrants)
    if (e->exact_dense) fastest_dense = std::max(fastest_dense, rate(*e));
  std::printf(
      " length    D  pause  kernel or tile              density  index ms         ms             TFLOP/s  of dense   "
      "MHz\n");
  for (const auto& e : entrants) {
    const std::vector<double>& s = e->seconds;
    std::printf("%7d  %3d  %2d ms  %-26s  %7.3f  %8.3f  %9.3f +- %4.1f %%  %7.0f  %8.3f  %4.0f\n", length, how.head_dim,
                how.pause_ms, e->name.c_str(), e->kept, e->index_ms, 1e3 * s[kRounds / 2],
                50 * (s[kHigh] - s[kLow]) / s[kRounds / 2], rate(*e), fastest_dense > 0 ? rate(*e) / fastest_dense : 0,
                median(e->clocks_mhz));
  }
}

}  // namespace salebench::cuda
