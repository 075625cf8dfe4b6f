// The attention that methods share unless they bring their own. It is declared in core, which may not know the kernels,
// and so defined here.
#include "core/method.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/low_bit_attention.h"
#include "methods/shared/attend_in.h"

namespace salebench {

void attend_in(Arithmetic arithmetic, const HostProblem& problem, const ConstMaskView* mask, AttentionView out) {
  if (arithmetic == Arithmetic::exact && mask)
    cpu::block_sparse_attention(problem, *mask, out);
  else if (arithmetic == Arithmetic::exact)
    cpu::dense_attention(problem, out);
  else
    cpu::low_bit_attention(problem, mask,
                           arithmetic == Arithmetic::int8  ? cpu::kInt8Format
                           : arithmetic == Arithmetic::fp8 ? cpu::kFp8Format
                                                           : cpu::kSageFormat,
                           out);
}

void Method::attend(const HostProblem& problem, ConstMaskView mask, AttentionView out) const {
  attend_in(arithmetic_, problem, &mask, out);
}

Params Method::all_params() {
  Params all = params();
  if (chooses_arithmetic())
    all.push_back({"attend",
                   "arithmetic: exact; int8 Q and K; fp8, P and V in e4m3 too; sage, SageAttention's int8 Q and K",
                   {{"exact", Arithmetic::exact},
                    {"int8", Arithmetic::int8},
                    {"fp8", Arithmetic::fp8},
                    {"sage", Arithmetic::sage}},
                   &arithmetic_});
  return all;
}

}  // namespace salebench
