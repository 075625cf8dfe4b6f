// Fewer channels for a QK product: a change of basis of Q and K that leaves every q . k as it is when all channels are
// kept, and puts what matters to the logits first.
#pragma once

#include <vector>

namespace salebench::sale {

/// Two matrices [dim, channels], row-major: q' = q * to_q and k' = k * to_k.
struct Rotation {
  int dim = 0, channels = 0;
  std::vector<float> to_q, to_k;
};

/// With C_Q and C_K the second moments of the rows of q and k, U the eigenvectors of C_Q^1/2 C_K C_Q^1/2 in falling
/// order: to_q = C_Q^-1/2 U and to_k = C_Q^1/2 U, cut to `channels`. No other choice of as many channels has a smaller
/// mean squared error of the logit, over all pairs of a row of q and a row of k. q [q_rows, dim], k [k_rows, dim].
/// Eigenvalues of C_Q below 1e-4 of the largest are raised to that, so that the inverse stays harmless.
Rotation make_rotation(const std::vector<float>& q, const std::vector<float>& k, int dim, int channels);

/// x [rows, dim] times a matrix [dim, channels].
std::vector<float> rotate(const std::vector<float>& x, const std::vector<float>& matrix, int dim, int channels);

}  // namespace salebench::sale
