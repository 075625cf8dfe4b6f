// Truth on disk: the exact output and log-sum-exp of a problem, kept by the fingerprint of its data.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "core/truth.h"

namespace salebench {

/// Which truth of a problem is wanted. rows = 0: all rows; otherwise a seeded sample of that many.
struct TruthKey {
  std::string fingerprint;
  int rows = 0;
  std::uint64_t seed = 1;
};

class TruthCache {
 public:
  /// A folder for the files; made when first written to.
  explicit TruthCache(std::string folder) : folder_(std::move(folder)) {}

  /// $SALEBENCH_CACHE, else $XDG_CACHE_HOME/salebench, else ~/.cache/salebench; "truth" below it.
  static std::string default_folder();

  /// The stored truth, if there is one, whole and for this very key and shape. A damaged file counts as none.
  std::optional<Truth> load(const TruthKey& key, const Shape& shape) const;
  /// Stores atomically, so that two runs may write the same at once. Throws WriteError.
  void store(const TruthKey& key, const Shape& shape, const Truth& truth) const;
  /// load, or compute and store; `progress` is called only while computing. If it can't be stored, it is still
  /// returned.
  Truth get(const TruthKey& key, const HostProblem& problem, const ProgressCall& progress = {}) const;

  /// Number of files and bytes that the cache takes.
  std::pair<int, std::uintmax_t> size() const;
  /// Removes all cached truths. Throws WriteError.
  void clear() const;

  std::string path_of(const TruthKey& key) const;

 private:
  std::string folder_;
};

/// The truth of a problem with `repeat` copies of its heads, from that of one copy.
Truth repeat_heads(const Truth& truth, int repeat);

}  // namespace salebench
