// The attention that methods share unless they bring their own. It is declared in core, which may not know the kernels,
// and so defined here.
#include "core/method.h"
#include "kernels/cpu/attention.h"

namespace salebench {

void Method::attend(const HostProblem& problem, ConstMaskView mask, AttentionView out) const {
  cpu::block_sparse_attention(problem, mask, out);
}

}  // namespace salebench
