// 8-bit attention as devices with 8-bit tensor cores compute it: the definition of its roundings. The products are in
// float32, so its error is that of the roundings alone, and its time says nothing about 8 bits.
//
// int8: K less its mean over keys, which shifts a row's logits equally; Q and K rotated by a Hadamard matrix, which
// leaves Q K^T and spreads outliers over channels; a scale a query row and one for each 32 keys, largest value / 127.
// Finer than SageAttention's scales where that is free: on a device both are factors of a row's or a chunk's logits.
//
// fp8: beside that, weights 448 2^(logit - largest) and V less its mean over keys, a scale a channel, in e4m3. The mean
// comes back exactly, as weights sum to 1, where sums of products lose part of it.
//
// sage: SageAttention's 8-bit Q K (arXiv 2410.02367), which SALE's second pass uses: K less its mean, a scale for each
// 64 query rows and for each 32 keys. P and V stay in float32, where the authors' kernel has 16 bits.
#pragma once

#include "core/block_mask.h"
#include "core/problem.h"

namespace salebench::cpu {

struct LowBitFormat {
  int query_rows;  ///< that share a scale of Q
  int keys;        ///< that share a scale of K
  bool rotate;
  bool e4m3_values;
};
inline constexpr LowBitFormat kInt8Format{1, 32, true, false}, kFp8Format{1, 32, true, true},
    kSageFormat{64, 32, false, false};

/// Attention over the visible keys of kept tiles; without a mask, over all that a row may see.
void low_bit_attention(const HostProblem& problem, const ConstMaskView* mask, const LowBitFormat& format,
                       AttentionView out);

/// Multiplies each row of x [rows, dim] by an orthonormal Hadamard matrix; where dim is no power of 2, by blocks of the
/// largest that divides it.
void rotate_rows(float* x, int rows, int dim);

}  // namespace salebench::cpu
