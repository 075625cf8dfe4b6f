// Whether the kernels for Hopper can run.
#pragma once

namespace salebench::cuda {

/// Why they can't: this build has no code for sm_90a, or the current device is another one. Null if they can. Throws
/// DeviceError without a device.
const char* why_no_hopper();

}  // namespace salebench::cuda
