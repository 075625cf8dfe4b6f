// The vocabulary: shapes, grids, masks, parameters, registry, half types.
#include <gtest/gtest.h>

#include "core/block_mask.h"
#include "core/half.h"
#include "core/nearest.h"
#include "core/registry.h"
#include "core/status.h"

namespace salebench {
namespace {

TEST(Shape, MapsQueryHeadsToKvHeads) {
  const Shape s{14, 2, 10, 30, 64};
  EXPECT_EQ(s.kv_head_of(6), 0);
  EXPECT_EQ(s.kv_head_of(7), 1);
  EXPECT_EQ(s.offset(), 20);
  EXPECT_NO_THROW(s.check());
}

TEST(Shape, RefusesNonsense) {
  EXPECT_THROW((Shape{3, 2, 8, 8, 4}.check()), std::invalid_argument);
  EXPECT_THROW((Shape{2, 2, 9, 8, 4}.check()), std::invalid_argument);
  EXPECT_THROW((Shape{2, 2, 8, 8, 0}.check()), std::invalid_argument);
}

/// Counts pairs one by one.
std::int64_t count_pairs(const BlockGrid& grid, int q_block, int k_block) {
  std::int64_t pairs = 0;
  for (int row = grid.q_begin(q_block); row < grid.q_end(q_block); ++row)
    for (int key = grid.k_begin(k_block); key < grid.k_end(k_block); ++key) pairs += grid.visible(row, key);
  return pairs;
}

TEST(BlockGrid, TileTokensAgreeWithCounting) {
  for (const BlockGrid& grid :
       {BlockGrid{{64, 32}, 200, 200, true, {}}, BlockGrid{{16, 48}, 70, 131, true, {}},
        BlockGrid{{16, 16}, 70, 131, false, {}}, BlockGrid{{16, 16}, 90, 131, true, Window{5, 20, 7}},
        BlockGrid{{1, 1}, 20, 33, true, Window{3, 4}}, BlockGrid{{8, 64}, 90, 90, true, Window{70, 1}},
        BlockGrid{{16, 16}, 90, 131, true, {}, 1}, BlockGrid{{64, 32}, 200, 200, true, {}, 40},
        BlockGrid{{8, 16}, 90, 131, true, Window{30, 20, 7}, 50}}) {
    BlockMask all(grid, 1);
    std::int64_t visible = 0, dense = 0;
    for (int qb = 0; qb < grid.q_blocks(); ++qb)
      for (int kb = 0; kb < grid.k_blocks(); ++kb) {
        EXPECT_EQ(grid.tile_tokens(qb, kb), count_pairs(grid, qb, kb));
        all.view().keep(0, qb, kb);
        visible += count_pairs(grid, qb, kb);
        if (kb < grid.visible_begin(qb) || kb >= grid.causal_end(qb)) {
          EXPECT_EQ(count_pairs(grid, qb, kb), 0);
        }
      }
    for (int row = 0; row < grid.q_len; ++row)
      for (int key = 0; key < grid.key_end(row); ++key)
        dense += grid.sliding_window == 0 || grid.position(row) - key < grid.sliding_window;
    EXPECT_EQ(grid.dense_tokens(), dense);
    EXPECT_EQ(count_mask(all.view(), 0).tokens, visible);
  }
}

TEST(BlockMask, BitsOfKeyBlocks) {
  BlockMask mask({{64, 32}, 128, 2048, true, {}}, 2);
  mask.view().keep(1, 0, 33);
  EXPECT_TRUE(mask.view().kept(1, 0, 33));
  EXPECT_FALSE(mask.view().kept(0, 0, 33));
  EXPECT_EQ(mask.bits()[std::size_t(1) * 2 * 2 + 1], 2u);  // head 1, query block 0, word 1, bit 1
  const MaskCounts counts = count_mask(mask.view(), 1);
  EXPECT_EQ(counts.tiles, 1);
  EXPECT_EQ(counts.tokens, 64 * 32);
  EXPECT_EQ(counts.causal_tiles, 62 + 64);
}

struct Knobs {
  double share = 0.1;
  int count = 3;
  bool flag = true;
  std::string kind = "a";
  Params params() {
    return {{"share", "", 0.0, 1.0, &share},
            {"count", "", 1, 9, &count},
            {"flag", "", &flag},
            {"kind", "", {"a", "b"}, &kind}};
  }
};

TEST(Params, SetAndPrint) {
  Knobs knobs;
  Params params = knobs.params();
  set_params(params, {{"share", "2.5e-1"}, {"count", "4"}, {"flag", "false"}, {"kind", "b"}});
  EXPECT_EQ(knobs.share, 0.25);
  EXPECT_EQ(param_text(param_values(params)), "count=4 flag=false kind=b share=0.25");
}

TEST(Params, RefuseWhatDoesNotFit) {
  Knobs knobs;
  Params params = knobs.params();
  for (const auto& [name, value] : ParamValues{{"share", "1.5"}, {"count", "3.5"}, {"flag", "yes"}, {"kind", "c"}})
    EXPECT_THROW(set_params(params, {{name, value}}), ParamError) << name;
  for (const char* text : {"", "nan", "0.1x", " 0.1"})
    EXPECT_THROW(set_params(params, {{"share", text}}), ParamError) << text;
  try {
    set_params(params, {{"shaer", "1"}});
    FAIL();
  } catch (const ParamError& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'share'"), std::string::npos);
  }
}

TEST(Nearest, Distance) {
  EXPECT_EQ(edit_distance("threshold", "treshold"), 1);
  EXPECT_EQ(edit_distance("max_tiem", "max_time"), 1);
  EXPECT_EQ(edit_distance("", "abc"), 3);
}

TEST(Registry, HoldsTheMethodsByName) {
  for (const char* name : {"block_topk", "dense", "oracle_topk", "sale", "streaming"})
    EXPECT_EQ(method_info(name).name, name);
  EXPECT_TRUE(std::ranges::is_sorted(methods(), {}, &MethodInfo::name));
  EXPECT_THROW(make_method("sail"), ParamError);
  EXPECT_THROW(register_method({"dense", 1, "", nullptr}), std::logic_error);
}

TEST(Half, RoundTripsEveryFiniteValue) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = std::uint16_t(bits);
    if (std::isfinite(half_to_float(half))) {
      EXPECT_EQ(float_to_half(half_to_float(half)), half);
    }
    if (std::isfinite(bfloat16_to_float(half))) {
      EXPECT_EQ(float_to_bfloat16(bfloat16_to_float(half)), half);
    }
  }
  EXPECT_EQ(half_to_float(0x3c00), 1.0f);
  EXPECT_EQ(half_to_float(0x0001), std::ldexp(1.0f, -24));
  EXPECT_EQ(float_to_half(1.0f + std::ldexp(1.0f, -11)), 0x3c00);  // a tie goes to even
  EXPECT_EQ(float_to_half(1e6f), 0x7c00);
}

TEST(Status, NamesRoundTrip) {
  for (const std::string_view name : kStatusNames) EXPECT_EQ(status_name(parse_status(name)), name);
  EXPECT_THROW(parse_status("fine"), std::invalid_argument);
}

}  // namespace
}  // namespace salebench
