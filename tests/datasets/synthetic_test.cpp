// Synthetic problems: the generator's known values, its transforms against libm, files that do not depend on the number
// of threads, compiler or machine, and the structure that they claim to have.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "core/atomic_file.h"
#include "datasets/dataset.h"
#include "datasets/synthetic/random.h"
#include "datasets/synthetic/synthetic.h"
#include "datasets/synthetic/synthetic_model.h"

namespace salebench {
namespace {

namespace fs = std::filesystem;
using portable::Counter;

TEST(Random, PhiloxHasTheKnownAnswersOfItsAuthors) {
  EXPECT_EQ(portable::philox({0, 0, 0, 0}, 0), (Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(portable::philox({kOnes, kOnes, kOnes, kOnes}, ~std::uint64_t(0)),
            (Counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(portable::philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822),
            (Counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, TransformsAgreeWithLibmToTheirDocumentedAccuracy) {
  const portable::Random random(3);
  for (std::uint32_t i = 0; i < 200000; ++i) {
    const double u = random.uniform(0, 0, i, 0), v = random.uniform(0, 0, i, 1);
    const double angle = (2 * u - 1) * (i % 2 ? 1 << 20 : 10);
    const portable::SinCos own = portable::sin_cos(angle);
    ASSERT_NEAR(own.sin, std::sin(angle), 3e-16) << angle;
    ASSERT_NEAR(own.cos, std::cos(angle), 3e-16) << angle;
    const double x = 1400 * v - 700;
    ASSERT_NEAR(portable::exp(x) / std::exp(x), 1, 4e-16) << x;
    const double y = std::exp(i % 2 ? x : v - 0.5);
    ASSERT_NEAR(portable::log(y), std::log(y), 4e-16 * std::max(1.0, std::fabs(std::log(y)))) << y;
  }
  for (const double p : {1.2e-10, 1e-6, 0.01, 0.074, 0.076, 0.3, 0.499}) {
    const double z = portable::normal_quantile(p);
    // The error of erfc(z) is about z^2 times that of z.
    EXPECT_NEAR(0.5 * std::erfc(-z / std::sqrt(2)) / p, 1, 2e-15 * (1 + z * z)) << p;
    EXPECT_NEAR(portable::normal_quantile(1 - p), -z, 1e-6) << p;  // 1 - p is rounded
  }
  EXPECT_EQ(portable::normal_quantile(0.5), 0);
}

TEST(Random, ValuesAreTheSameEverywhere) {
  EXPECT_EQ(std::bit_cast<std::uint64_t>(portable::sin_cos(123456.789).sin), 0xbfeff50e60ab53f9u);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(portable::sin_cos(123456.789).cos), 0x3faa74d27c41b22au);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(portable::exp(-12.345)), 0x3ed240572f47cb82u);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(portable::log(12.345)), 0x40041b236798645fu);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(portable::normal_quantile(0.3)), 0xbfe0c7e39582c5fau);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(portable::normal_quantile(1e-5)), 0xc0110f3f8843a3dau);
}

TEST(Random, NormalValuesHaveTheMomentsAndTailsOfTheNormal) {
  constexpr int kRows = 4000, kDim = 250;
  const portable::Random random(11);
  std::vector<float> row(kDim);
  double sum = 0, square = 0, cube = 0, fourth = 0, lag = 0;
  int beyond2 = 0, beyond4 = 0;
  for (int r = 0; r < kRows; ++r) {
    random.normal(1, 2, std::uint32_t(r), row);
    for (int i = 0; i < kDim; ++i) {
      const double x = row[std::size_t(i)];
      sum += x, square += x * x, cube += x * x * x, fourth += x * x * x * x;
      beyond2 += std::fabs(x) > 2, beyond4 += std::fabs(x) > 4;
      if (i > 0) lag += x * row[std::size_t(i) - 1];
    }
  }
  constexpr double n = double(kRows) * kDim;  // a million; five standard errors everywhere
  EXPECT_NEAR(sum / n, 0, 0.005);
  EXPECT_NEAR(square / n, 1, 0.0071);
  EXPECT_NEAR(cube / n, 0, 0.02);
  EXPECT_NEAR(fourth / n, 3, 0.05);
  EXPECT_NEAR(lag / n, 0, 0.005);
  EXPECT_NEAR(beyond2 / n, 0.0455003, 0.00105);
  EXPECT_NEAR(beyond4, 63.3, 40);
}

TEST(Rope, ScoresDependOnTheDistanceOnly) {
  constexpr int kDim = 64;
  const portable::Random random(5);
  const std::vector<double> frequencies = rope_frequencies(kDim, 500000);
  ASSERT_EQ(frequencies.size(), 32u);
  EXPECT_EQ(frequencies[0], 1);
  EXPECT_NEAR(frequencies[31], std::pow(500000, -62.0 / 64), 1e-20);
  std::vector<float> q(kDim), k(kDim);
  const auto dot = [&](double i, double j) {
    random.normal(0, 0, 0, q);
    random.normal(0, 0, 1, k);
    rotate(q, i, frequencies);
    rotate(k, j, frequencies);
    return std::inner_product(q.begin(), q.end(), k.begin(), 0.0);
  };
  for (const int distance : {0, 1, 77, 5000, 100000})
    for (const int key : {0, 3, 1000, 31071}) EXPECT_NEAR(dot(key + distance, key), dot(distance, 0), 1e-4);
  EXPECT_GT(std::fabs(dot(10, 0) - dot(20, 0)), 1e-2);
}

/// FNV-1a of the bits of all values.
std::uint64_t hash_of(const ProblemTensors& p) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const auto* tensor : {&p.q, &p.k, &p.v})
    for (const float x : *tensor) hash = (hash ^ std::bit_cast<std::uint32_t>(x)) * 0x100000001b3;
  return hash;
}

class Synthetic : public testing::Test {
 protected:
  Synthetic() : folder_(fs::temp_directory_path() / ("salebench_synthetic_test_" + std::to_string(::getpid()))) {
    fs::create_directories(folder_);
  }
  ~Synthetic() override { fs::remove_all(folder_); }

  std::string path() const { return folder_ / "synthetic.h5"; }
  ProblemTensors make(const SyntheticOptions& options, int index = 0) const {
    write_synthetic(options, path());
    return Dataset(path()).load(options.kind + "_" + std::to_string(index));
  }

  /// No structure but what a test turns on.
  static SyntheticOptions plain() {
    SyntheticOptions o;
    for (const char* name : kStrengthNames) strength_range(o, name) = {0, 0};
    o.noise = {0.5, 0.5};
    o.length = 2048, o.q_heads = 2, o.kv_heads = 1, o.head_dim = 64;
    return o;
  }

 private:
  fs::path folder_;
};

/// What a query row gives to each key.
std::vector<double> attention_row(const ProblemTensors& p, int head, int row) {
  const HostProblem view = p.view();
  const int dim = p.shape.head_dim, end = view.key_end(row);
  std::vector<double> mass;
  for (int key = 0; key < end; ++key) {
    const float* q = view.q_head(head) + std::ptrdiff_t(row) * dim;
    const float* k = view.k_of(head) + std::ptrdiff_t(key) * dim;
    mass.push_back(std::exp(p.scale * std::inner_product(q, q + dim, k, 0.0)));
  }
  const double sum = std::accumulate(mass.begin(), mass.end(), 0.0);
  for (double& x : mass) x /= sum;
  return mass;
}

/// Mean over some late rows of the mass on keys [begin(row), begin(row) + count).
template <class Begin>
double mean_mass(const ProblemTensors& p, int head, Begin begin, int count) {
  double sum = 0;
  int rows = 0;
  for (int row = p.shape.q_len / 2; row < p.shape.q_len - 16; row += 37, ++rows) {
    const std::vector<double> mass = attention_row(p, head, row);
    const auto first = mass.begin() + std::clamp(begin(row), 0, int(mass.size()) - 1);
    sum += std::accumulate(first, std::min(first + count, mass.end()), 0.0);
  }
  return sum / rows;
}

TEST_F(Synthetic, FilesAreTheSameEverywhere) {
  SyntheticOptions o;
  o.length = 1100, o.q_length = 300, o.q_heads = 4, o.kv_heads = 2, o.head_dim = 24, o.problems = 2, o.seed = 42;
  EXPECT_EQ(hash_of(make(o, 0)), 0xd6dfba6b70778725u);
  EXPECT_EQ(hash_of(make(o, 1)), 0xe5e4a9622e400725u);
  o.dtype = "bfloat16";
  EXPECT_EQ(hash_of(make(o)), 0x8d9667447f6ca725u);
  o.kind = "normal";
  EXPECT_EQ(hash_of(make(o)), 0xd038bf9b4a77a725u);
}

TEST_F(Synthetic, ThreadsDoNotChangeTheValues) {
  for (const char* kind : {"structured", "normal"}) {
    SyntheticOptions o;
    o.kind = kind, o.length = 9000, o.q_heads = 2, o.kv_heads = 1, o.head_dim = 16, o.threads = 1;
    const ProblemTensors one = make(o);
    for (const int threads : {2, 5}) {
      o.threads = threads;
      const ProblemTensors many = make(o);
      EXPECT_TRUE(one.q == many.q && one.k == many.k && one.v == many.v) << kind << ", " << threads << " threads";
    }
  }
}

TEST_F(Synthetic, ProblemsAreOfConsecutiveSeeds) {
  SyntheticOptions o = plain();
  o.length = 100, o.problems = 3, o.seed = 5;
  const ProblemTensors third = make(o, 2);
  o.problems = 1, o.seed = 7;
  EXPECT_EQ(make(o).q, third.q);
  o.seed = 8;
  EXPECT_NE(make(o).q, third.q);
}

TEST_F(Synthetic, QueriesOfAChunkAreTheLastOfTheWhole) {
  SyntheticOptions o;
  o.length = 1500, o.head_dim = 16;
  const ProblemTensors whole = make(o);
  o.q_length = 100;
  const ProblemTensors chunk = make(o);
  EXPECT_EQ(whole.k, chunk.k);
  const HostProblem a = whole.view(), b = chunk.view();
  for (int head = 0; head < o.q_heads; ++head)
    EXPECT_TRUE(std::equal(b.q_head(head), b.q_head(head) + 100 * 16, a.q_head(head) + 1400 * 16)) << head;
}

TEST_F(Synthetic, ShapesAndOriginsAreWhatWasAskedFor) {
  for (const auto& [q_heads, kv_heads, dim, length] :
       {std::tuple{1, 1, 8, 1}, {8, 2, 64, 70}, {6, 6, 10, 1024}, {14, 2, 128, 1025}, {4, 1, 256, 33}}) {
    for (const char* kind : {"structured", "normal"}) {
      SyntheticOptions o;
      o.kind = kind, o.q_heads = q_heads, o.kv_heads = kv_heads, o.head_dim = dim, o.length = length;
      const ProblemTensors p = make(o);  // load() also checks that all values are finite
      EXPECT_EQ(p.shape, (Shape{q_heads, kv_heads, length, length, dim}));
      EXPECT_FLOAT_EQ(p.scale, float(1 / std::sqrt(double(dim))));
      EXPECT_TRUE(p.causal);
    }
  }
  const ProblemInfo normal = Dataset(path()).problems().at(0);
  EXPECT_NE(normal.source.find("worst case"), std::string::npos);
  EXPECT_NE(normal.model.find("worst case"), std::string::npos);
  EXPECT_EQ(normal.source.find("salebench synth"), 0u);
}

TEST_F(Synthetic, EachStrengthMakesItsStructure) {
  const auto sink = [](int) { return 0; };
  const auto latest = [](int row) { return row - 63; };
  const ProblemTensors nothing = make(plain());
  EXPECT_LT(mean_mass(nothing, 0, sink, 4), 0.01);
  EXPECT_LT(mean_mass(nothing, 0, latest, 64), 0.1);

  SyntheticOptions o = plain();
  o.sink = {9, 9};
  EXPECT_GT(mean_mass(make(o), 0, sink, 4), 0.5);

  o = plain(), o.local = {12, 12};
  EXPECT_GT(mean_mass(make(o), 1, latest, 64), 0.7);

  o = plain(), o.slash = {12, 12};
  const ProblemTensors slash = make(o);
  for (int head = 0; head < 2; ++head) {
    const std::string text = SyntheticModel(o, o.seed).heads_text();
    const std::size_t at = text.find(" at ", text.find(std::to_string(head) + ": "));
    const int distance = std::stoi(text.substr(at + 4));
    if (distance > 1024) continue;
    EXPECT_GT(mean_mass(
                  slash, head, [&](int row) { return row - distance - 16; }, 33),
              0.4)
        << distance;
  }

  o = plain(), o.needle = {14, 14};
  const std::vector<double> asked = attention_row(make(o), 0, 2047);
  const auto best = std::max_element(asked.begin(), asked.end());
  EXPECT_GT(std::accumulate(std::max(asked.begin(), best - 7), std::min(asked.end(), best + 8), 0.0), 0.5);
}

TEST_F(Synthetic, ColumnsAreSharedByQueriesAndTopicsAreNot) {
  // The share of a row's mass that lies on the 64 keys that another row likes best.
  const auto shared = [&](const SyntheticOptions& o) {
    const ProblemTensors p = make(o);
    const std::vector<double> one = attention_row(p, 0, 1500), other = attention_row(p, 0, 2000);
    std::vector<int> keys(one.size());
    std::iota(keys.begin(), keys.end(), 0);
    std::partial_sort(keys.begin(), keys.begin() + 64, keys.end(), [&](int a, int b) { return one[a] > one[b]; });
    return std::accumulate(keys.begin(), keys.begin() + 64, 0.0, [&](double sum, int key) { return sum + other[key]; });
  };
  SyntheticOptions o = plain();
  EXPECT_LT(shared(o), 0.2);
  o.column = {9, 9};
  EXPECT_GT(shared(o), 0.6);

  o = plain(), o.topic = {6, 6};
  const ProblemTensors topic = make(o);
  double best = 0;
  for (int row = 1024; row < 2048; row += 64) {
    std::vector<double> mass = attention_row(topic, 0, row);
    std::partial_sort(mass.begin(), mass.begin() + 200, mass.end(), std::greater<>());
    best += std::accumulate(mass.begin(), mass.begin() + 200, 0.0) / 16;
  }
  EXPECT_GT(best, 0.6);
}

TEST_F(Synthetic, ErrorsNameWhatIsWrong) {
  const auto message = [&](auto change) {
    SyntheticOptions o;
    change(o);
    try {
      write_synthetic(o, path());
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(message([](auto& o) { o.head_dim = 63; }).find("head_dim 63"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.kv_heads = 3; }).find("kv_heads 3"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.length = 0; }).find("length"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.kind = "odd"; }).find("'odd'"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.sink = {3, 2}; }).find("sink"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.noise.high = NAN; }).find("noise"), std::string::npos);
  EXPECT_FALSE(fs::exists(path()));
  EXPECT_THROW(write_synthetic({}, "/no/such/folder/a.h5"), WriteError);
  EXPECT_THROW(write_synthetic({}, fs::path(path()).parent_path()), WriteError);
  EXPECT_THROW(write_synthetic({}, path(), [](double share) { return share < 0.3; }), Stopped);
  EXPECT_TRUE(fs::is_empty(fs::path(path()).parent_path())) << "stopped work must leave nothing behind";
}

}  // namespace
}  // namespace salebench
