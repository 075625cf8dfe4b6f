// The contract of methods on CUDA devices: every method that says it runs there, by its defaults and by the settings
// that take other paths, against its plain definition on the CPU. A new method is tested by being registered. Each test
// prints a table of what it found. Skips without a device.
#include <gtest/gtest.h>
#include <omp.h>

#include <bit>
#include <cstdlib>
#include <fstream>
#include <future>
#include <optional>

#include "datasets/dataset.h"
#include "tests/contract/cuda_methods.h"
#include "tests/kernels/cuda/cuda_fixture.h"

namespace salebench {
namespace {

using cuda::Dtype;

constexpr double kDifferingTiles = 0.001;                           // of those that the CPU keeps
constexpr double kRecallDifference = 0.001;                         // of the mean
constexpr double kFp8Tolerance = 0.03, kLowBitLseTolerance = 2e-3;  // codes near ties and e4m3 weights differ

const std::vector<Shape> kShapes = {{3, 1, 777, 777, 64},   {2, 1, 1201, 1201, 64}, {3, 1, 200, 1499, 128},
                                    {7, 1, 330, 1301, 128}, {14, 2, 65, 1111, 64},  {2, 2, 130, 2100, 128}};

template <class Lse>
double mean_recall(const Lse& kept, const std::vector<double>& all) {
  double sum = 0;
  for (std::size_t i = 0; i < all.size(); ++i) sum += std::min(1.0, std::exp(double(kept[i]) - all[i]));
  return sum / double(all.size());
}

TEST(DeviceSides, AreAllRegistered) {  // needs no device
  for (const MethodInfo& info : methods())
    for (const Settings& s : settings_of(info.name))
      EXPECT_NO_THROW(cuda::why_not(*make_method(info.name, s.values), {2, 1, 2048, 2048, 64})) << info.name;
}

TEST(DeviceSides, SayWhichArithmeticTheyTake) {  // needs no device
  const auto why_not = [](const char* name, const ParamValues& values) {
    return cuda::why_not(*make_method(name, values), {2, 1, 2048, 2048, 64});
  };
  for (const char* name : {"dense", "sale", "block_topk", "flexprefill"}) {
    for (const char* taken : {"exact", "int8", "fp8"}) EXPECT_EQ(why_not(name, {{"attend", taken}}), "") << name;
    EXPECT_NE(why_not(name, {{"attend", "sage"}}).find("int8 and fp8"), std::string::npos) << name;
  }
  EXPECT_NE(why_not("dense", {{"attend", "int8"}, {"kernel", "cudnn"}}).find("kernel cudnn"), std::string::npos);
  EXPECT_FALSE(make_method("dense", {{"kernel", cuda::kCudnnFp8}})->exact_attend());
  EXPECT_TRUE(make_method("dense", {{"kernel", "cudnn"}})->exact_attend());
}

/// What was found for a method's settings, over problems: sums of tiles, the worst of the rest.
struct Found {
  int problems = 0;
  std::int64_t kept = 0, differing = 0;
  double recall_difference = 0, output_error = 0, lse_error = 0;

  void print(const std::string& method, const std::string& settings) const {
    std::printf("%-16s %-46s %8ld %6ld %9.1e %9.1e %9.1e\n", method.c_str(), settings.c_str(), long(kept),
                long(differing), recall_difference, output_error, lse_error);
  }
};

void expect_no_unseen_tile(const BlockMask& mask) {
  const BlockGrid& grid = mask.view().grid;
  for (int head = 0; head < mask.view().heads; ++head)
    for (int qb = 0; qb < grid.q_blocks(); ++qb)
      for (int kb = 0; kb < 32 * grid.words(); ++kb)
        ASSERT_FALSE(mask.view().kept(head, qb, kb) && (kb < grid.visible_begin(qb) || kb >= grid.causal_end(qb)))
            << "head " << head << " tile " << qb << ", " << kb;
}

double worst_lse_error(const std::vector<float>& got, const std::vector<double>& exact) {
  double worst = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const double error =
        double(got[i]) == exact[i] ? 0 : std::fabs(got[i] - exact[i]) / std::max(1.0, std::fabs(exact[i]));
    worst = error <= worst ? worst : error;  // keeps a NaN
  }
  return worst;
}

/// What the CPU keeps, and what must and may be kept where scores near the threshold may be misjudged.
struct Expected {
  BlockMask mask, must, may;
  bool near_ties;
};

/// Tiles that are not as they must be.
int differing_tiles(const BlockMask& mask, const Expected& expected) {
  int count = 0;
  for (std::size_t i = 0; i < mask.bits().size(); ++i)
    count += std::popcount((mask.bits()[i] & ~expected.may.bits()[i]) | (expected.must.bits()[i] & ~mask.bits()[i]));
  return count;
}

/// From 8 bits: against the CPU's attention from the same, over the mask of the run, of which `answer` is the exact
/// one.
void check_low_bit(const Written& run, const Method& method, const Bench& bench, const ReferenceResult& answer,
                   Found& found) {
  AttentionResult expected(bench.host.shape);
  method.attend(bench.host, std::as_const(run.mask).view(), expected.view());
  const std::vector<float> output = from_bits(run.output, bench.problem.dtype);
  const double error = relative_l2(output, std::vector<double>(expected.output.begin(), expected.output.end()));
  EXPECT_LE(relative_l2(output, answer.output),
            1.1 * relative_l2(expected.output, answer.output) + output_tolerance(bench.problem.dtype));
  EXPECT_LE(error,
            method.arithmetic() == Arithmetic::fp8 ? kFp8Tolerance : 1.2 * output_tolerance(bench.problem.dtype));
  const double lse_error = worst_lse_error(run.lse, std::vector<double>(expected.lse.begin(), expected.lse.end()));
  EXPECT_LE(lse_error, kLowBitLseTolerance);
  found.output_error = std::max(found.output_error, error);
  found.lse_error = std::max(found.lse_error, lse_error);
}

/// Runs a bound method twice and compares it with the mask that the CPU expects and with attention over its own mask.
/// On so few tokens a single near tie is a thousandth of the recall, so with those it is that of the run's own mask.
void check_run(BoundRun& run, const Method& method, const Bench& bench, const Expected& wanted, Found& found) {
  const BlockMask& expected = wanted.mask;
  const Written first = run.run(0xff), second = run.run(0);
  EXPECT_TRUE(std::ranges::equal(first.mask.bits(), second.mask.bits())) << "words unwritten, or other tiles";
  EXPECT_EQ(first.output, second.output) << "values unwritten, or another output";
  EXPECT_EQ(first.lse, second.lse);
  expect_no_unseen_tile(first.mask);
  ++found.problems;
  found.differing += differing_tiles(first.mask, wanted);
  for (const std::uint32_t word : expected.bits()) found.kept += std::popcount(word);
  const ReferenceResult answer = exact(bench.host, &first.mask, bench.source);
  if (method.arithmetic() != Arithmetic::exact) return check_low_bit(first, method, bench, answer, found);
  const bool same = std::ranges::equal(first.mask.bits(), expected.bits()) || wanted.near_ties;
  const double recall =
      mean_recall(same ? answer.lse : exact(bench.host, &expected, bench.source).lse, bench.dense.lse);
  const double recall_difference = std::fabs(mean_recall(first.lse, bench.dense.lse) - recall);
  EXPECT_LE(recall_difference, kRecallDifference);
  found.recall_difference = std::max(found.recall_difference, recall_difference);
  if (!method.exact_attend()) return;
  const double output_error = relative_l2(from_bits(first.output, bench.problem.dtype), answer.output);
  EXPECT_LE(output_error, output_tolerance(bench.problem.dtype));
  const double lse_error = worst_lse_error(first.lse, answer.lse);
  EXPECT_LE(lse_error, kLseTolerance);
  found.output_error = std::max(found.output_error, output_error);
  found.lse_error = std::max(found.lse_error, lse_error);
}

/// By the plain definition. From some thousands of tokens on, that of an oracle takes minutes; the tuned one stands in.
BlockMask cpu_mask(const Method& method, const Bench& bench) {
  BlockMask mask(grid_of(method, bench.host), bench.host.shape.q_heads);
  const bool plain = bench.source == Source::plain_and_double ||
                     (bench.source == Source::plain_and_float && method.role() != Role::oracle);
  plain ? method.select(bench.host, mask.view()) : method.select_fast(bench.host, mask.view());
  return mask;
}

/// By the tuned selection where near ties are given, since that is what a larger and a smaller threshold need twice.
Expected expected_masks(const std::string& name, const Settings& settings, const Method* method, const Bench& bench) {
  if (!method) return {BlockMask(BlockGrid{}, 1), BlockMask(BlockGrid{}, 1), BlockMask(BlockGrid{}, 1), false};
  if (settings.near_tie == 0) {
    const BlockMask mask = cpu_mask(*method, bench);
    return {mask, mask, mask, false};
  }
  const auto at = [&](double factor) {
    BlockMask mask(grid_of(*method, bench.host), bench.host.shape.q_heads);
    prepared(name, settings, bench.host, factor)->select_fast(bench.host, mask.view());
    return mask;
  };
  return {at(1), at(1 + settings.near_tie), at(1 - settings.near_tie), true};
}

/// Checks a method with each of its settings on a problem; found[i] belongs to settings[i].
void check_method(const std::string& name, const std::vector<Settings>& settings, const Bench& bench,
                  std::vector<Found>& found) {
  found.resize(settings.size());
  std::vector<std::unique_ptr<Method>> methods;
  std::vector<std::future<Expected>> masks;  // plain definitions take their time, most of them in one thread
  for (const Settings& s : settings) {
    methods.push_back(prepared(name, s, bench.host));
    const int threads = std::max(1, omp_get_num_procs() / int(settings.size()));
    masks.push_back(std::async(std::launch::async, [&, threads, method = methods.back().get()] {
      omp_set_num_threads(threads);  // of what this thread calls
      return expected_masks(name, s, method, bench);
    }));
  }
  for (std::size_t i = 0; i < settings.size(); ++i) {
    SCOPED_TRACE(name + " " + settings[i].text() + ", " + shape_text(bench.host.shape));
    const Expected expected = masks[i].get();
    if (!methods[i]) continue;
    std::optional<BoundRun> run;
    try {
      run.emplace(*methods[i], bench);
    } catch (const Unsupported& why) {
      std::printf("%-16s %-46s left out: %s\n", name.c_str(), settings[i].text().c_str(), why.what());
      continue;
    }
    check_run(*run, *methods[i], bench, expected, found[i]);
  }
}

void report(const std::string& name, const std::vector<Settings>& settings, const std::vector<Found>& found) {
  std::printf("%-16s %-46s %8s %6s %9s %9s %9s\n", "method", "settings", "kept", "differ", "recall", "output", "lse");
  int problems = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i].problems == 0) continue;
    problems += found[i].problems;
    found[i].print(name, settings[i].text());
    EXPECT_LE(double(found[i].differing), kDifferingTiles * double(found[i].kept)) << settings[i].text();
  }
  EXPECT_GT(problems, 0) << name << " took no problem";
}

class CudaMethods : public NeedsCudaDevice, public testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override {
    NeedsCudaDevice::SetUp();
    if (IsSkipped()) return;
    const std::string why = cuda::why_not(*make_method(GetParam()), {1, 1, 4096, 4096, 64});
    if (!why.empty()) GTEST_SKIP() << why;
  }

  /// Every problem of a capture, in the type it was captured in.
  static void check_capture(const std::string& path, Source source) {
    const auto settings = settings_of(GetParam());
    std::vector<Found> found;
    const Dataset capture(path);
    for (const ProblemInfo& info : capture.problems())
      check_method(GetParam(), settings,
                   {capture.load(info.id), info.dtype == "float16" ? Dtype::fp16 : Dtype::bf16, source}, found);
    report(GetParam(), settings, found);
  }
};

TEST_P(CudaMethods, OnRandomProblems) {
  const auto settings = settings_of(GetParam());
  for (const Dtype dtype : {Dtype::fp16, Dtype::bf16}) {
    SCOPED_TRACE(dtype == Dtype::fp16 ? "fp16" : "bf16");
    std::vector<Found> found;
    for (const Shape& shape : kShapes)
      for (const int window : {0, 50, 700}) {
        if (window > 0 && !make_method(GetParam())->honours_sliding_window()) continue;
        SCOPED_TRACE("sliding window " + std::to_string(window));
        ProblemTensors problem = make_problem(shape);
        problem.sliding_window = window;
        check_method(GetParam(), settings, {problem, dtype, Source::plain_and_double}, found);
      }
    report(GetParam(), settings, found);
  }
}

TEST_P(CudaMethods, OnTheSample) {
  const char* const file = SALEBENCH_SOURCE_DIR "/datasets/samples/smollm2-135m_kjv_8k.h5";
  if (!std::ifstream(file)) GTEST_SKIP() << "no " << file;
  check_capture(file, Source::plain_and_float);
}

TEST_P(CudaMethods, OnALargeCapture) {
  const char* const file = std::getenv("SALEBENCH_LARGE_CAPTURE");
  if (!file) GTEST_SKIP() << "SALEBENCH_LARGE_CAPTURE names no capture";
  check_capture(file, Source::fast_and_float);
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const MethodInfo& info : methods()) all.push_back(info.name);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Registry, CudaMethods, testing::ValuesIn(names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace salebench
