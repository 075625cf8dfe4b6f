#include "harness/cell/evict.h"

#include <vector>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace salebench {

void evict(std::span<const std::byte> range) {
#if defined(__x86_64__)
  constexpr std::size_t kLine = 64;
  for (std::size_t at = 0; at < range.size(); at += kLine) _mm_clflush(range.data() + at);
  _mm_mfence();
#else
  // Reads and writes twice as much as the caches of large machines hold.
  static std::vector<char> sweep(std::size_t(256) << 20);
  for (std::size_t at = 0; at < sweep.size(); at += 64) sweep[at] = char(sweep[at] + 1);
  (void)range;
#endif
}

}  // namespace salebench
