#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <memory>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "datasets/dataset.h"
#include "datasets/mask_file.h"

namespace salebench {

std::string fingerprint(const HostProblem& p) {
  return fingerprint(p, {});
}

std::string fingerprint(const HostProblem& p, const ProblemInfo& info) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), XXH3_freeState);
  XXH3_128bits_reset(state.get());
  const Shape& s = p.shape;
  std::string header =
      fmt::format("{} {} {} {} {} {} {}", s.q_heads, s.kv_heads, s.q_len, s.kv_len, s.head_dim, p.causal, p.scale);
  if (p.sliding_window > 0) header += fmt::format(" window {}", p.sliding_window);
  if (info.softcap > 0) header += fmt::format(" softcap {}", info.softcap);
  if (info.sinks) header += " sinks";
  XXH3_128bits_update(state.get(), header.data(), header.size());
  for (const auto values : {p.q, p.k, p.v}) XXH3_128bits_update(state.get(), values.data(), values.size_bytes());
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::string file_fingerprint(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  if (!file) throw DataError(fmt::format("cannot read {}", path));
  return fmt::format("{:016x}", XXH3_64bits(bytes.data(), bytes.size()));
}

}  // namespace salebench
