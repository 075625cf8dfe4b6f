// The statistics of comparisons, and what they call slower on made-up rounds.
#include "results/compare.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "results/statistics.h"

namespace salebench {
namespace {

TEST(Statistics, MannWhitneyCountsOrders) {
  EXPECT_NEAR(mann_whitney({1, 2, 3}, {4, 5, 6}), 0.1, 1e-12);
  EXPECT_NEAR(mann_whitney({1, 2, 3, 4}, {5, 6, 7, 8}), 2.0 / 70, 1e-12);
  EXPECT_NEAR(mann_whitney({5, 6, 7, 8}, {1, 2, 3, 4}), 2.0 / 70, 1e-12);
  EXPECT_NEAR(mann_whitney({1, 3, 5}, {2, 4, 6}), 0.7, 1e-12);        // as R's wilcox.test says
  EXPECT_NEAR(mann_whitney({1, 2, 4, 7, 9}, {3, 5, 6}), 1.0, 1e-12);  // U = 7 of 15
  EXPECT_EQ(mann_whitney({1, 1, 1}, {1, 1, 1}), 1);
}

TEST(Statistics, HolmTakesNoLessThanTheOneBefore) {
  const std::vector<double> adjusted = holm({0.04, 0.01, 0.03});
  EXPECT_NEAR(adjusted[0], 0.06, 1e-12);  // no less than the one before it
  EXPECT_NEAR(adjusted[1], 0.03, 1e-12);
  EXPECT_NEAR(adjusted[2], 0.06, 1e-12);
}

TEST(Statistics, ShufflesAreHowOftenChanceDoesAsMuch) {
  const BeforeAndAfter apart = {{1, 2, 3, 4}, {5, 6, 7, 8}};
  EXPECT_NEAR(shuffled({apart}), 2.0 / 70, 0.01);  // of 70 ways two, as 4 and 5 are no median
  EXPECT_LT(shuffled({apart, apart, apart}), 4e-4);
  EXPECT_GT(shuffled({{{5, 6, 7, 8}, {1, 2, 3, 4}}}), 0.99);
  EXPECT_EQ(shuffled({{{1, 1}, {1, 1}}}), 1);
}

TEST(Statistics, DrawsAreEven) {
  std::vector<int> counts(7);
  for (std::uint64_t i = 0; i < 70000; ++i) ++counts[drawn(i << 8, 7)];
  for (const int count : counts) EXPECT_NEAR(count, 10000, 400);
}

/// Rounds of cells as machines give them: a mood a process that the baseline shares, noise of each, and outliers.
class Machine {
 public:
  explicit Machine(unsigned seed) : random_(seed) {}

  std::vector<CellRecord> run(int cells, int rounds, double slower_by = 0, const std::string& which = "a") {
    std::normal_distribution<double> normal;
    const double mood = 0.01 * normal(random_);
    std::vector<CellRecord> records;
    for (int i = 0; i < cells; ++i)
      for (int round = 0; round < rounds; ++round) {
        CellRecord r;
        r.status = "ok", r.timing_usable = true, r.round = round, r.backend = "cpu", r.cache = "cold";
        r.method = std::string(1, char('a' + i % 4)), r.params = fmt::format("{{\"budget\":{}}}", i);
        r.problem.id = "p", r.fingerprint = "f", r.recall_mean = 0.9, r.rel_l2 = 0.1;
        const double process = std::exp(mood + 0.02 * normal(random_));
        const double outlier = std::uniform_real_distribution<double>()(random_) < 0.05 ? 1.3 : 1;
        r.dense_s = process * std::exp(0.01 * normal(random_));
        r.total_s =
            0.3 * (1 + (r.method == which ? slower_by : 0)) * process * outlier * std::exp(0.02 * normal(random_));
        records.push_back(r);
      }
    return records;
  }

 private:
  std::mt19937 random_;
};

int verdicts(const Comparison& comparison, Verdict verdict) {
  int count = 0;
  for (const ComparedCell& cell : comparison.cells) count += cell.verdict == verdict;
  for (const ComparedMethod& method : comparison.methods) count += method.verdict == verdict;
  return count;
}

TEST(Compare, EqualRunsAreEqual) {
  Machine machine(1);
  int wrong = 0;
  for (int pair = 0; pair < 20; ++pair) {
    const Comparison got = compare(machine.run(100, 4), machine.run(100, 4), {});
    EXPECT_EQ(got.cells.size(), 100u);
    EXPECT_EQ(got.methods.size(), 4u);
    wrong += verdicts(got, Verdict::slower) + verdicts(got, Verdict::faster) > 0;
  }
  EXPECT_LE(wrong, 1);
}

TEST(Compare, AMethodSlowerByFivePerCentIsFound) {
  Machine machine(2);
  for (int pair = 0; pair < 4; ++pair) {
    const Comparison got = compare(machine.run(200, 4), machine.run(200, 4, 0.05), {});
    for (const ComparedMethod& method : got.methods) {
      EXPECT_EQ(method.verdict, method.method == "a" ? Verdict::slower : Verdict::same)
          << method.method << " " << method.ratio << " " << method.relative << " " << method.lo << " "
          << method.adjusted;
      if (method.method != "a") continue;
      EXPECT_LT(method.lo, 1.05);
      EXPECT_GT(method.hi, 1.05);
    }
    const Comparison back = compare(machine.run(200, 4, 0.05), machine.run(200, 4), {});
    EXPECT_EQ(back.methods[0].verdict, Verdict::faster);
  }
}

TEST(Compare, AFasterMachineHidesNoSlowerMethod) {
  Machine machine(7);
  const std::vector<CellRecord> base = machine.run(200, 4);
  std::vector<CellRecord> fresh = machine.run(200, 4, 0.05);
  for (CellRecord& r : fresh) r.total_s *= 0.93, r.dense_s *= 0.93;
  for (const ComparedMethod& method : compare(base, fresh, {}).methods)
    EXPECT_EQ(method.verdict, method.method == "a" ? Verdict::slower : Verdict::same)
        << method.method << " " << method.ratio << " " << method.relative << " " << method.others;
}

TEST(Compare, ACellAloneNeedsRoundsAndASize) {
  Machine machine(3);
  const Comparison few = compare(machine.run(1, 3), machine.run(1, 4, 0.5), {});
  EXPECT_EQ(few.cells[0].verdict, Verdict::too_few);
  EXPECT_NEAR(few.cells[0].relative, 1.5, 0.1) << "the ratio is told all the same";
  EXPECT_EQ(compare(machine.run(1, 10), machine.run(1, 10, 0.2), {}).cells[0].verdict, Verdict::slower);
  EXPECT_EQ(compare(machine.run(1, 10), machine.run(1, 10, 0.2), {.floor = 0.3}).cells[0].verdict, Verdict::same);
  EXPECT_EQ(compare(machine.run(1, 10, 0.2), machine.run(1, 10), {}).cells[0].verdict, Verdict::faster);
}

TEST(Compare, AnotherBaselineIsNoChangeOfTheMethod) {
  Machine machine(4);
  const std::vector<CellRecord> base = machine.run(40, 6);
  std::vector<CellRecord> fresh = machine.run(40, 6);
  for (CellRecord& r : fresh) r.dense_s /= 1.2;
  const Comparison got = compare(base, fresh, {});
  EXPECT_EQ(verdicts(got, Verdict::slower) + verdicts(got, Verdict::faster), 0);
  EXPECT_NEAR(got.baseline, 1 / 1.2, 0.05);
  for (CellRecord& r : fresh) r.dense_s *= 1.44, r.total_s *= 1.2;  // a slower machine
  EXPECT_EQ(verdicts(compare(base, fresh, {}), Verdict::slower), 0);
}

TEST(Compare, BusyRoundsAreLeftOut) {
  Machine machine(7);
  const std::vector<CellRecord> base = machine.run(8, 5);
  std::vector<CellRecord> fresh = machine.run(8, 5);
  for (CellRecord& r : fresh)
    if (r.round == 2) r.busy = true, r.total_s *= 5;
  const Comparison got = compare(base, fresh, {});
  EXPECT_EQ(got.busy, 8);
  EXPECT_EQ(got.cells[0].fresh_rounds, 4);
  EXPECT_EQ(verdicts(got, Verdict::slower) + verdicts(got, Verdict::faster), 0);
}

TEST(Compare, ResultsAndFailuresCount) {
  Machine machine(5);
  const std::vector<CellRecord> base = machine.run(4, 1);
  std::vector<CellRecord> fresh = base;
  fresh[0].status = "crashed", fresh[1].recall_mean = 0.89, fresh[2].rel_l2 = 0.102, fresh[3].rel_l2 = 0.1001;
  const Comparison got = compare(base, fresh, {});
  EXPECT_TRUE(got.cells[0].failed && got.cells[1].worse && got.cells[2].worse && !got.cells[3].worse);
  fresh.pop_back();
  fresh.back().threads = 7;
  const Comparison other = compare(base, fresh, {});
  EXPECT_EQ(other.only_base, 2);
  EXPECT_EQ(other.only_fresh, 1);
}

TEST(Compare, OtherHardwareIsNamed) {
  Machine machine(6);
  const std::vector<CellRecord> base = machine.run(2, 1);
  std::vector<CellRecord> fresh = base;
  EXPECT_EQ(other_hardware(base, fresh), "");
  for (CellRecord& r : fresh) r.host = "B";
  EXPECT_EQ(other_hardware(base, fresh), "") << "an old run doesn't say";
  std::vector<CellRecord> known = base;
  for (CellRecord& r : known) r.host = "A";
  EXPECT_EQ(other_hardware(known, fresh), "host: B, not A");
}

}  // namespace
}  // namespace salebench
