// Sums and roundings of one row of floats, for quantisation.
#pragma once

#include <cstdint>

namespace salebench::cpu {

/// The largest |x[d] - mean[d]|.
float largest_difference(const float* x, const float* mean, int dim);

/// codes[d] = (x[d] - mean[d]) * inverse_scale, rounded to nearest even; must fit in int8.
void encode_row(const float* x, const float* mean, int dim, float inverse_scale, std::int8_t* codes);

/// sums[d] += x[row, d] over the rows of x [rows, dim], one after another.
void add_rows(const float* x, int rows, int dim, double* sums);

/// out[row] = x[row] . y for the rows of x [rows, dim].
void row_dots(const float* x, int rows, int dim, const float* y, float* out);

}  // namespace salebench::cpu
