#include "datasets/truth_cache.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

#include "core/atomic_file.h"
#include "core/hdf5.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace salebench {
namespace {

constexpr const char* kFormat = "salebench.truth";

/// Over the stored arrays: HDF5 does not notice a file whose middle was overwritten.
std::string checksum(const Truth& truth) {
  const std::uint64_t rows = XXH3_64bits(truth.rows.data(), truth.rows.size() * sizeof(int));
  const std::uint64_t output = XXH3_64bits(truth.output.data(), truth.output.size() * sizeof(float));
  const std::uint64_t lse = XXH3_64bits(truth.lse.data(), truth.lse.size() * sizeof(double));
  return fmt::format("{:016x}{:016x}{:016x}", rows, output, lse);
}

}  // namespace

std::string TruthCache::default_folder() {
  const auto set = [](const char* name) {
    const char* value = std::getenv(name);
    return value && *value ? std::string(value) : std::string();
  };
  if (const std::string own = set("SALEBENCH_CACHE"); !own.empty()) return own + "/truth";
  if (const std::string cache = set("XDG_CACHE_HOME"); !cache.empty()) return cache + "/salebench/truth";
  return (set("HOME").empty() ? "/tmp" : set("HOME") + "/.cache") + std::string("/salebench/truth");
}

std::string TruthCache::path_of(const TruthKey& key) const {
  const std::string rows = key.rows == 0 ? "all" : fmt::format("{}rows_seed{}", key.rows, key.seed);
  return fmt::format("{}/{}_{}.h5", folder_, key.fingerprint, rows);
}

std::optional<Truth> TruthCache::load(const TruthKey& key, const Shape& shape) const {
  const std::string path = path_of(key);
  if (!std::filesystem::exists(path)) return std::nullopt;
  try {
    const h5::File file = h5::File::open(path);
    const h5::Group& root = file.root();
    if (root.string_attribute("format") != kFormat || root.string_attribute("fingerprint") != key.fingerprint)
      return std::nullopt;
    Truth truth;
    const auto rows = root.read_int64("rows");
    truth.rows.assign(rows.begin(), rows.end());
    truth.output = root.read_float("output");
    truth.lse = root.read_double("lse");
    const std::size_t count = std::size_t(shape.q_heads) * truth.rows.size();
    if (truth.rows != sample_rows(shape.q_len, key.rows, key.seed) || truth.lse.size() != count ||
        truth.output.size() != count * shape.head_dim || root.string_attribute("checksum") != checksum(truth))
      return std::nullopt;
    return truth;
  } catch (const h5::Error&) {
    return std::nullopt;
  }
}

void TruthCache::store(const TruthKey& key, const Shape& shape, const Truth& truth) const {
  std::error_code failed;
  std::filesystem::create_directories(folder_, failed);  // a failure shows when the file is written
  const h5::File file = h5::File::create();
  const h5::Group& root = file.root();
  root.set_attribute("format", kFormat);
  root.set_attribute("fingerprint", key.fingerprint);
  root.set_attribute("checksum", checksum(truth));
  const std::vector<std::int64_t> rows(truth.rows.begin(), truth.rows.end());
  const hsize_t heads = hsize_t(shape.q_heads);
  root.write("rows", rows, {rows.size()});
  root.write("output", truth.output, {heads, rows.size(), hsize_t(shape.head_dim)});
  root.write("lse", truth.lse, {heads, rows.size()});
  file.save(path_of(key));
}

std::pair<int, std::uintmax_t> TruthCache::size() const {
  std::pair<int, std::uintmax_t> found = {0, 0};
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, missing)) {
    ++found.first;
    found.second += entry.file_size(missing);
  }
  return found;
}

void TruthCache::clear() const {
  std::error_code failed;
  std::filesystem::remove_all(folder_, failed);
  if (failed) throw WriteError(fmt::format("cannot remove {}: {}", folder_, failed.message()));
}

Truth TruthCache::get(const TruthKey& key, const HostProblem& problem, const ProgressCall& progress) const {
  if (auto stored = load(key, problem.shape)) return std::move(*stored);
  Truth truth = compute_truth(problem, sample_rows(problem.shape.q_len, key.rows, key.seed), progress);
  try {
    store(key, problem.shape, truth);
  } catch (const WriteError&) {
    // A cache that can't be written only costs time, in the next run.
  }
  return truth;
}

Truth repeat_heads(const Truth& truth, int repeat) {
  Truth repeated{truth.rows, {}, {}};
  for (int copy = 0; copy < repeat; ++copy) {
    repeated.output.insert(repeated.output.end(), truth.output.begin(), truth.output.end());
    repeated.lse.insert(repeated.lse.end(), truth.lse.begin(), truth.lse.end());
  }
  return repeated;
}

}  // namespace salebench
