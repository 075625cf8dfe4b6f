// In place of this folder's other files where the compiler or the system has no AMX: use_amx() is false, and nothing
// here is reached but the question.
#include <stdexcept>

#include "kernels/cpu/amx/attention.h"
#include "kernels/cpu/amx/codes.h"

namespace salebench::cpu {
namespace {

[[noreturn]] void refuse() {
  throw std::logic_error("built without AMX kernels");
}

}  // namespace

bool amx_available() {
  return false;
}
TileScope::TileScope() : float_mode_(0) {
  refuse();
}
TileScope::~TileScope() = default;
void pack_keys_values(const HostProblem&, bool, AmxKeysValues&) {
  refuse();
}
void amx_attend_tile(const AmxTask&, AmxWorkspace&) {
  refuse();
}
void pack_amx_codes(const Shape&, const SaleCodes&, AmxCodes&) {
  refuse();
}
void amx_codes_reach(std::span<const CodeTask>, const AmxCodes&, int, int, AmxCodeWorkspace&) {
  refuse();
}

}  // namespace salebench::cpu
