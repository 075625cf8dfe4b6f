// Delta Attention against its definition in double precision, and how it hands parameters to its base.
#include <gtest/gtest.h>

#include "core/reference.h"
#include "core/registry.h"
#include "tests/problems.h"

namespace salebench {
namespace {

/// What the paper defines, from the reference over the mask and over all keys.
std::vector<double> corrected(const HostProblem& p, ConstMaskView mask, int stride, bool whole_strides) {
  std::vector<double> output = reference_attention(p, &mask).output;
  const std::vector<double> sparse = output, dense = reference_attention(p).output;
  const int tail = std::max(0, p.shape.q_len - std::max(128, stride)) / stride * stride;
  const auto dim = std::size_t(p.shape.head_dim);
  for (int head = 0; head < p.shape.q_heads; ++head)
    for (int row = 0; row < p.shape.q_len; ++row) {
      const std::size_t at = (std::size_t(head) * p.shape.q_len + row) * dim;
      const std::size_t first = at - std::size_t(row % stride) * dim;
      for (std::size_t d = 0; d < dim; ++d)
        if (row >= tail)
          output[at + d] = dense[at + d];
        else if (whole_strides || row % stride == 0)
          output[at + d] += dense[first + d] - sparse[first + d];
    }
  return output;
}

TEST(Delta, IsItsDefinition) {
  for (const Shape& shape : {Shape{2, 1, 64, 64, 32}, Shape{1, 1, 700, 700, 32}, Shape{2, 1, 333, 500, 32}})
    for (const char* mode : {"delta", "recompute"})
      for (const int stride : {1, 50, 64, 256}) {
        SCOPED_TRACE(shape_text(shape) + " " + mode + " " + std::to_string(stride));
        const ProblemTensors p = make_problem(shape);
        const auto method = make_method("delta", {{"base", "block_topk"},
                                                  {"base_params", "budget=0.2 sink=0"},
                                                  {"mode", mode},
                                                  {"stride", std::to_string(stride)}});
        BlockMask mask(grid_of(*method, p.view()), shape.q_heads);
        method->select_fast(p.view(), mask.view());
        AttentionResult result(shape);
        method->attend(p.view(), std::as_const(mask).view(), result.view());
        const ConstMaskView view = std::as_const(mask).view();
        EXPECT_LE(relative_l2(result.output, corrected(p.view(), view, stride, std::string(mode) == "delta")), 1e-5);
      }
}

TEST(Delta, CountsThePairsOfTheRowsItComputesAgain) {
  // Rows 0 and 64 of 200, then from 200 - 200 % 64 - 128 = 64 all: row 64 once.
  std::int64_t pairs = 1;
  for (int row = 64; row < 200; ++row) pairs += row + 1;
  EXPECT_EQ(make_method("delta")->extra_pairs({.shape = {2, 1, 200, 200, 64}, .q = {}, .k = {}, .v = {}}), pairs);
  // Below 128 rows and a stride, all rows are dense; 1000 keys lie before the chunk.
  EXPECT_EQ(make_method("delta")->extra_pairs({.shape = {1, 1, 3, 1003, 64}, .q = {}, .k = {}, .v = {}}),
            1001 + 1002 + 1003);
  EXPECT_EQ(make_method("delta")->remark({1, 1, 3, 1003, 64}), "short input: all rows dense");
}

TEST(Delta, TakesBlockWindowAndKnobFromItsBase) {
  const auto streaming = make_method("delta", {{"base_params", "sink=64 local=300"}});
  EXPECT_EQ(streaming->window(), (Window{64, 300}));
  const auto oracle = make_method("delta", {{"base", "oracle_topk"}, {"base_params", "block=128x64"}, {"knob", "0.3"}});
  EXPECT_EQ(oracle->block(), (BlockSize{128, 64}));
  EXPECT_EQ(oracle->role(), Role::oracle);
  for (const Param& param : oracle->all_params()) EXPECT_TRUE(!param.knob() || param.high() == 1.0) << param.name();
  const ProblemTensors p = make_problem({2, 1, 1300, 1300, 32});
  const auto plain = make_method("oracle_topk", {{"block", "128x64"}, {"budget", "0.3"}});
  BlockMask mask(grid_of(*oracle, p.view()), 2), expected(grid_of(*plain, p.view()), 2);
  oracle->select_fast(p.view(), mask.view());
  plain->select_fast(p.view(), expected.view());
  EXPECT_TRUE(std::ranges::equal(mask.bits(), expected.bits()));
}

TEST(Delta, NamesTheParameterThatIsWrong) {
  const auto message = [](const ParamValues& values) -> std::string {
    try {
      make_method("delta", values);
    } catch (const ParamError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_TRUE(message({{"base", "streamin"}}).starts_with("base: unknown method 'streamin'"));
  EXPECT_TRUE(message({{"base", "delta"}}).starts_with("base: "));
  EXPECT_TRUE(message({{"base", "external"}}).starts_with("base: "));
  EXPECT_TRUE(message({{"base_params", "locl=3"}}).starts_with("base_params: streaming: unknown parameter 'locl'"));
  EXPECT_TRUE(message({{"base_params", "local"}}).starts_with("base_params: "));
  EXPECT_TRUE(message({{"base", "block_topk"}, {"knob", "300"}}).starts_with("knob: '300' is not allowed"));
}

}  // namespace
}  // namespace salebench
