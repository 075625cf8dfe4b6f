// Captures, views, fingerprints and the truth cache.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "datasets/capture_writer.h"
#include "datasets/dataset.h"
#include "datasets/truth_cache.h"
#include "tests/problems.h"

namespace salebench {
namespace {

namespace fs = std::filesystem;

class Datasets : public testing::Test {
 protected:
  Datasets() : folder_(fs::temp_directory_path() / ("salebench_datasets_test_" + std::to_string(::getpid()))) {
    fs::create_directories(folder_);
  }
  ~Datasets() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ / name; }

  /// Writes a capture with one problem; its values are rounded to the stored type.
  std::string write_capture(const ProblemTensors& p, bool bfloat16) const {
    const std::string name = path(bfloat16 ? "bfloat16.h5" : "float16.h5");
    CaptureProblem problem;
    problem.id = "a", problem.shape = p.shape, problem.dtype = bfloat16 ? "bfloat16" : "float16";
    CaptureWriter writer(name);
    writer.begin(problem);
    const HostProblem view = p.view();
    // In two pieces, as large files are written.
    const auto write = [&](const char* tensor, int head, const float* x, int rows) {
      const int dim = p.shape.head_dim, half = rows / 2;
      writer.write_rows(tensor, head, 0, to_16bit({x, std::size_t(half) * dim}, problem.dtype));
      writer.write_rows(tensor, head, half, to_16bit({x + half * dim, std::size_t(rows - half) * dim}, problem.dtype));
    };
    for (int head = 0; head < p.shape.q_heads; ++head) write("q", head, view.q_head(head), p.shape.q_len);
    for (int head = 0; head < p.shape.kv_heads; ++head) {
      write("k", head, view.k_head(head), p.shape.kv_len);
      write("v", head, view.v_head(head), p.shape.kv_len);
    }
    EXPECT_FALSE(fs::exists(name)) << "a capture must not appear before it is whole";
    writer.finish();
    return name;
  }

 private:
  fs::path folder_;
};

/// Values that float16 and bfloat16 both hold exactly.
ProblemTensors coarse_problem(const Shape& shape) {
  ProblemTensors p = make_problem(shape);
  for (auto* values : {&p.q, &p.k, &p.v})
    for (float& x : *values) x = std::round(x * 8) / 8;
  return p;
}

TEST_F(Datasets, BothTypesReadBackExactly) {
  const ProblemTensors p = coarse_problem({4, 2, 30, 50, 16});
  for (const bool bfloat16 : {false, true}) {
    const Dataset dataset(write_capture(p, bfloat16));
    EXPECT_EQ(dataset.problem("a").dtype, bfloat16 ? "bfloat16" : "float16");
    const ProblemTensors read = dataset.load("a");
    EXPECT_EQ(read.q, p.q);
    EXPECT_EQ(read.k, p.k);
    EXPECT_EQ(read.v, p.v);
    EXPECT_EQ(read.shape, p.shape);
    EXPECT_FLOAT_EQ(read.scale, 0.25f);  // 1 / sqrt(16), as the file says nothing
    EXPECT_EQ(fingerprint(read.view()), fingerprint(p.view()));
  }
}

TEST_F(Datasets, ViewsArePrefixesAndCopies) {
  const ProblemTensors p = coarse_problem({4, 2, 30, 50, 16});
  const ProblemTensors view = apply_view(p, {40, 3});
  EXPECT_EQ(view.shape, (Shape{12, 6, 20, 40, 16}));  // 20 tokens come before the first query
  for (int copy = 0; copy < 3; ++copy)
    for (int head = 0; head < 4; ++head) {
      const float* got = view.view().q_head(copy * 4 + head);
      EXPECT_TRUE(std::equal(got, got + 20 * 16, p.view().q_head(head)));
      const float* keys = view.view().k_of(copy * 4 + head);
      EXPECT_TRUE(std::equal(keys, keys + 40 * 16, p.view().k_of(head)));
    }
  EXPECT_THROW(apply_view(p, {51, 1}), DataError);
  EXPECT_THROW(apply_view(p, {20, 1}), DataError);
}

TEST_F(Datasets, FingerprintsTellProblemsApart) {
  const ProblemTensors p = coarse_problem({2, 1, 20, 20, 8});
  ProblemTensors other = p;
  other.v.back() += 1;
  EXPECT_NE(fingerprint(p.view()), fingerprint(other.view()));
  other = p;
  other.causal = false;
  EXPECT_NE(fingerprint(p.view()), fingerprint(other.view()));
  EXPECT_EQ(fingerprint(p.view()).size(), 32u);
}

TEST_F(Datasets, TruthCacheGivesBackWhatItStored) {
  const ProblemTensors p = make_problem({2, 1, 40, 40, 8});
  const TruthCache cache(path("cache"));
  for (const int rows : {0, 7}) {
    const TruthKey key = {fingerprint(p.view()), rows, 5};
    EXPECT_FALSE(cache.load(key, p.shape));
    const Truth truth = cache.get(key, p.view());
    const auto stored = cache.load(key, p.shape);
    ASSERT_TRUE(stored);
    EXPECT_EQ(stored->rows, truth.rows);
    EXPECT_EQ(stored->output, truth.output);
    EXPECT_EQ(stored->lse, truth.lse);
  }
}

TEST_F(Datasets, TruthCacheIgnoresDamagedAndForeignFiles) {
  const ProblemTensors p = make_problem({2, 1, 40, 40, 8});
  const TruthCache cache(path("cache"));
  const TruthKey key = {fingerprint(p.view()), 0, 1};
  cache.get(key, p.view());
  const std::string file = cache.path_of(key);
  const auto size = fs::file_size(file);

  fs::resize_file(file, size / 2);
  EXPECT_FALSE(cache.load(key, p.shape));

  const Truth truth = compute_truth(p.view(), sample_rows(40, 0, 1));
  cache.store(key, p.shape, truth);
  {
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    std::string text(size, '\0');
    bytes.read(text.data(), std::streamsize(size));
    // One bit of one value: the file still opens, and only its checksum tells.
    const std::size_t value = text.find(std::string(reinterpret_cast<const char*>(&truth.output[100]), sizeof(float)));
    ASSERT_NE(value, std::string::npos);
    bytes.seekp(std::streamoff(value));
    bytes.put(char(text[value] ^ 1));
  }
  EXPECT_FALSE(cache.load(key, p.shape));

  const TruthKey other = {std::string(32, '0'), 0, 1};
  cache.store(key, p.shape, compute_truth(p.view(), sample_rows(40, 0, 1)));
  fs::copy_file(file, cache.path_of(other));
  EXPECT_FALSE(cache.load(other, p.shape));
  EXPECT_TRUE(cache.load(key, p.shape));
}

TEST_F(Datasets, TheBundledCaptureIsWhatItsReadmeSays) {
  const Dataset dataset(SALEBENCH_SOURCE_DIR "/datasets/samples/smollm2-135m_kjv_8k.h5");
  ASSERT_EQ(dataset.problems().size(), 2u);
  for (const ProblemInfo& info : dataset.problems()) {
    EXPECT_EQ(info.shape, (Shape{3, 1, 8192, 8192, 64}));
    EXPECT_EQ(info.scale, 0.125);
    EXPECT_TRUE(info.causal);
  }
}

}  // namespace
}  // namespace salebench
