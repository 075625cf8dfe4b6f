#include "kernels/cuda/device/images.h"

#include <gtest/gtest.h>

namespace salebench::cuda {
namespace {

TEST(Images, MachineCodeRunsOnItsMajorVersionFromItsMinorOneOn) {
  EXPECT_TRUE(runs_on("86-real", 8, 6));
  EXPECT_TRUE(runs_on("86-real", 8, 9));
  EXPECT_FALSE(runs_on("86-real", 8, 0));
  EXPECT_FALSE(runs_on("86-real", 9, 0));
}

TEST(Images, PtxRunsOnAllLaterOnes) {
  EXPECT_TRUE(runs_on("80-virtual", 8, 0));
  EXPECT_TRUE(runs_on("80-virtual", 12, 0));
  EXPECT_FALSE(runs_on("80-virtual", 7, 5));
  EXPECT_TRUE(runs_on("90", 10, 0));
}

TEST(Images, CodeOfOneChipRunsThereAlone) {
  EXPECT_TRUE(runs_on("90a", 9, 0));
  EXPECT_TRUE(runs_on("90a-real", 9, 0));
  EXPECT_FALSE(runs_on("90a", 10, 0));
  EXPECT_FALSE(runs_on("90a-real", 8, 0));
  EXPECT_TRUE(runs_on("100f-real", 10, 3));
  EXPECT_FALSE(runs_on("100f-real", 12, 0));
}

TEST(Images, AnyOfSeveralWillDo) {
  EXPECT_TRUE(runs_on("80-virtual,90a-real", 8, 9));
  EXPECT_TRUE(runs_on("80-virtual,90a-real", 9, 0));
  EXPECT_FALSE(runs_on("90a-real,100-real", 8, 0));
  EXPECT_FALSE(runs_on("", 9, 0));
}

}  // namespace
}  // namespace salebench::cuda
