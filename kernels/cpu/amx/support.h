// Whether this build and this machine can run the AMX kernels.
#pragma once

namespace salebench::cpu {

/// True on x86-64 Linux with AMX for bfloat16 and int8, AVX-512 F/BW/DQ/VL, and leave from the kernel to use tiles,
/// which the first call asks for.
bool amx_available();

}  // namespace salebench::cpu
