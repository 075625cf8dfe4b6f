// SageAttention's 8-bit computation (arXiv 2410.02367), which SALE's second pass uses: Q is rounded to int8 with one
// scale for each 64 rows, K minus its mean with one for each 32 keys; scale = largest value / 127, to nearest even.
// It is computed as float32 attention on the operands rounded to int8 and back, so its error is that of the rounding
// alone: P and V stay in float32, where the authors' kernel has P and V in 16 bits.
#pragma once

#include "core/block_mask.h"

namespace salebench {

/// Sage attention over the kept tiles of the mask; without a mask, over all causal keys.
void sage_attend(const HostProblem& problem, const ConstMaskView* mask, AttentionView out);

}  // namespace salebench
