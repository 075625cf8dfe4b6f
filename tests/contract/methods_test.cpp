// The contract that every registered method keeps. A new method is tested by being registered.
#include <gtest/gtest.h>

#include <array>

#include "core/reference.h"
#include "core/registry.h"
#include "kernels/cpu/simd.h"
#include "tests/problems.h"

namespace salebench {
namespace {

const std::vector<Shape> kShapes = {
    {1, 1, 1, 1, 64},       {2, 1, 63, 63, 64},    {2, 2, 65, 65, 80},   {7, 1, 130, 130, 64},  {2, 1, 1025, 1025, 64},
    {2, 1, 1300, 1300, 32}, {2, 1, 200, 1500, 64}, {1, 1, 1, 1400, 128}, {4, 2, 333, 1297, 64}, {2, 1, 301, 1111, 20}};

/// Sliding windows that layers may have, on some of the shapes: narrower than a tile, and of several tiles.
std::vector<int> windows_of(const Shape& shape) {
  if (shape.kv_len == 130) return {0, 37};
  if (shape.kv_len == 1500 || shape.kv_len == 1297) return {0, 37, 700};
  return shape.kv_len == 3000 ? std::vector<int>{0, 1200} : std::vector<int>{0};
}

const Shape kKnobShape = {4, 2, 1333, 1500, 64};
/// A shape for methods that run shorter inputs dense, and say so: there they would have nothing to show.
const Shape kLongShape = {4, 2, 2100, 3000, 64};

bool runs_dense(const Method& method, const Shape& shape) {
  return method.remark(shape).starts_with("dense");
}

class Methods : public testing::TestWithParam<std::string> {
 protected:
  /// Calls check(method, problem) for every shape that the method supports.
  template <class Check>
  void for_each_shape(const Check& check) {
    std::vector<Shape> shapes = kShapes;
    if (runs_dense(*make_method(GetParam()), kKnobShape)) shapes.push_back(kLongShape);
    for (const Shape& shape : shapes) {
      SCOPED_TRACE(shape_text(shape));
      const auto method = make_method(GetParam());
      method->set_seed(11);
      try {
        method->check(shape, true);
      } catch (const Unsupported& why) {
        EXPECT_STRNE(why.what(), "");
        continue;
      }
      ProblemTensors problem = make_problem(shape);
      method->prepare(problem.view(), "test");
      for (const int window : windows_of(shape)) {
        if (window > 0 && !method->honours_sliding_window()) continue;
        SCOPED_TRACE("sliding window " + std::to_string(window));
        problem.sliding_window = window;
        check(*method, problem);
      }
    }
  }
};

BlockMask selected(const Method& method, const ProblemTensors& p, bool fast) {
  BlockMask mask(grid_of(method, p.view()), p.shape.q_heads);
  if (fast)
    method.select_fast(p.view(), mask.view());
  else
    method.select(p.view(), mask.view());
  return mask;
}

TEST_P(Methods, KeepOnlyVisibleTilesAndTheDiagonal) {
  for_each_shape([](const Method& method, const ProblemTensors& p) {
    const BlockMask owner = selected(method, p, true);
    const ConstMaskView mask = owner.view();
    const BlockGrid& grid = mask.grid;
    for (int head = 0; head < mask.heads; ++head)
      for (int qb = 0; qb < grid.q_blocks(); ++qb) {
        int kept = 0;
        for (int kb = 0; kb < grid.words() * 32; ++kb) {
          if (!mask.kept(head, qb, kb)) continue;
          ++kept;
          ASSERT_GE(kb, grid.visible_begin(qb)) << "head " << head << " query block " << qb;
          ASSERT_LT(kb, grid.causal_end(qb)) << "head " << head << " query block " << qb;
        }
        EXPECT_GT(kept, 0) << "head " << head << " query block " << qb;
        for (int row = grid.q_begin(qb); method.keeps_diagonal() && row < grid.q_end(qb); ++row) {
          EXPECT_TRUE(mask.kept(head, qb, grid.position(row) / grid.block.k)) << "head " << head << " row " << row;
          EXPECT_TRUE(grid.visible(row, grid.position(row)));
        }
      }
  });
}

TEST_P(Methods, GiveTheSameMaskForTheSameSeed) {
  for_each_shape([](const Method& method, const ProblemTensors& p) {
    const BlockMask first = selected(method, p, true), second = selected(method, p, true);
    EXPECT_TRUE(std::ranges::equal(first.bits(), second.bits()));
  });
}

TEST_P(Methods, FastSelectionIsThePlainOneButForNearTies) {
  for_each_shape([&](const Method& method, const ProblemTensors& p) {
    const BlockMask plain = selected(method, p, false);
    std::int64_t tiles = 0;
    for (int head = 0; head < p.shape.q_heads; ++head) tiles += count_mask(plain.view(), head).causal_tiles;
    for (const std::string& simd : cpu::simd_names()) {
      cpu::set_simd(simd);
      const BlockMask fast = selected(method, p, true);
      int different = 0;
      for (std::size_t i = 0; i < plain.bits().size(); ++i)
        different += std::popcount(plain.bits()[i] ^ fast.bits()[i]);
      EXPECT_LE(different, tiles / 1000) << simd << ": " << different << " of " << tiles;
    }
    cpu::set_simd("");
  });
}

TEST_P(Methods, AttendToTheMaskTheySelect) {
  if (!make_method(GetParam())->exact_attend()) GTEST_SKIP() << "computes something else by design";
  for_each_shape([](const Method& method, const ProblemTensors& p) {
    const BlockMask owner = selected(method, p, true);
    const ConstMaskView mask = owner.view();
    AttentionResult result(p.shape);
    method.attend(p.view(), mask, result.view());
    EXPECT_LE(relative_l2(result.output, reference_attention(p.view(), &mask).output), 1e-5);
  });
}

TEST_P(Methods, ShareKeysWithinAGroup) {
  // Query heads that hold the same values select the same tiles, whichever head of the group they are.
  ProblemTensors p = make_problem({4, 2, 1200, 1200, 64});
  const std::size_t head = p.view().q_head_size();
  std::copy_n(p.q.begin(), head, p.q.begin() + std::ptrdiff_t(head));
  const auto method = make_method(GetParam());
  try {
    method->check(p.shape, true);
  } catch (const Unsupported& why) {
    GTEST_SKIP() << why.what();
  }
  const BlockMask owner = selected(*method, p, true);
  const std::size_t size = owner.bits().size() / 4;
  EXPECT_TRUE(std::ranges::equal(owner.bits().subspan(0, size), owner.bits().subspan(size, size)));
}

/// Values spread over the range of a knob's parameter, ascending.
std::vector<double> knob_values(const Param& param) {
  std::vector<double> values;
  for (const double share : {0.001, 0.01, 0.05, 0.2, 0.5, 0.9, 1.0})
    values.push_back(param.type() == "int"
                         ? std::floor(param.low() + share * std::min(param.high() - param.low(), 1500.0))
                         : param.low() + share * (param.high() - param.low()));
  return values;
}

std::int64_t kept_pairs(const BlockMask& mask, int head) {
  return count_mask(mask.view(), head).tokens;
}

TEST_P(Methods, AreMonotoneInTheirKnobHeadByHead) {
  const auto method = make_method(GetParam());
  const ProblemTensors p = make_problem(runs_dense(*method, kKnobShape) ? kLongShape : kKnobShape);
  method->set_seed(11);
  for (const Param& param : method->all_params()) {
    Knob* knob = param.knob();
    if (!knob) continue;
    try {
      method->check(p.shape, true);
    } catch (const Unsupported& why) {
      GTEST_SKIP() << why.what();
    }
    method->prepare(p.view(), "test");
    const bool up = knob->larger == Knob::Trend::keeps_more;
    std::vector<BlockMask> masks;
    for (const double value : knob_values(param)) {
      knob->value = value;
      masks.push_back(selected(*method, p, true));
      for (int head = 0; head < 4 && masks.size() > 1; ++head) {
        const std::int64_t before = kept_pairs(masks[masks.size() - 2], head), now = kept_pairs(masks.back(), head);
        EXPECT_TRUE(up ? now >= before : now <= before)
            << param.name() << " " << value << ", head " << head << ": " << before << " pairs, then " << now;
      }
    }
    EXPECT_NE(kept_pairs(masks.front(), 0), kept_pairs(masks.back(), 0)) << param.name() << " changes nothing";
    if (!knob->per_head) continue;
    // A value for each head gives each head the mask it has when all have that value.
    const std::vector<double> values = knob_values(param);
    knob->of_head = {values[1], values[3], values[4], values[5]};
    const BlockMask mixed = selected(*method, p, true);
    const std::size_t size = mixed.bits().size() / 4;
    for (const int head : {0, 1, 2, 3}) {
      const BlockMask& alone = masks[std::array{1, 3, 4, 5}[std::size_t(head)]];
      EXPECT_TRUE(std::ranges::equal(mixed.bits().subspan(head * size, size), alone.bits().subspan(head * size, size)))
          << param.name() << ", head " << head;
    }
    knob->of_head.clear();
  }
}

TEST_P(Methods, SayWhereTheyComeFrom) {
  const About about = make_method(GetParam())->about();
  EXPECT_FALSE(about.source.empty());
  EXPECT_FALSE(about.statistic.empty());
  EXPECT_FALSE(about.rule.empty());
}

TEST_P(Methods, NameTypicalValuesOfTheirKnobFromSparseToDense) {
  const auto method = make_method(GetParam());
  for (const Param& param : method->all_params()) {
    const Knob* const knob = param.knob();
    if (!knob) continue;
    EXPECT_GE(knob->typical.size(), 2u) << param.name();
    for (std::size_t i = 0; i < knob->typical.size(); ++i) {
      EXPECT_GE(knob->typical[i], param.low());
      EXPECT_LE(knob->typical[i], param.high());
      if (i == 0) continue;
      const bool larger = knob->typical[i] > knob->typical[i - 1];
      EXPECT_EQ(larger, knob->larger == Knob::Trend::keeps_more) << param.name() << " " << knob->typical[i];
    }
  }
}

TEST_P(Methods, DescribeTheirParameters) {
  const auto method = make_method(GetParam());
  for (Param& param : method->all_params()) {
    EXPECT_FALSE(param.help().empty()) << param.name();
    EXPECT_TRUE(!param.knob() || param.knob()->value != 0) << param.name() << ": no default";
    const std::string text = param.text();
    EXPECT_NO_THROW(param.parse(text)) << param.name() << ": the default " << text << " is out of range";
    EXPECT_EQ(param.text(), text);
  }
  EXPECT_FALSE(method_info(GetParam()).summary.empty());
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const MethodInfo& info : methods()) all.push_back(info.name);
  return all;
}

// gtest evaluates the list after main() has begun, when every method is registered.
INSTANTIATE_TEST_SUITE_P(Registry, Methods, testing::ValuesIn(names()), [](const auto& info) { return info.param; });

}  // namespace
}  // namespace salebench
