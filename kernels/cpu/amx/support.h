// Whether this build and this machine can run the AMX kernels, and the state of a thread that does.
#pragma once

namespace salebench::cpu {

inline constexpr int kTileBytes = 1024;  ///< all tiles are 16 rows of 64 bytes

/// True on x86-64 Linux with AMX for bfloat16 and int8, AVX-512 F/BW/DQ/VL, and leave from the kernel to use tiles,
/// which the first call asks for.
bool amx_available();

/// Holds the calling thread's tile registers configured, and float arithmetic without subnormal numbers: the tiles know
/// none, and in vectors each would cost over a hundred cycles.
class TileScope {
 public:
  TileScope();
  ~TileScope();
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;

 private:
  unsigned float_mode_;
};

}  // namespace salebench::cpu
