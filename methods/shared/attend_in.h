// Attention in a chosen arithmetic.
#pragma once

#include "core/method.h"

namespace salebench {

/// Over the kept tiles of the mask; without a mask, over all that a row may see.
void attend_in(Arithmetic arithmetic, const HostProblem& problem, const ConstMaskView* mask, AttentionView out);

}  // namespace salebench
