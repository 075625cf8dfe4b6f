#include "kernels/cpu/antidiagonal.h"

#include <algorithm>
#include <numbers>

#include "kernels/cpu/packed.h"
#include "kernels/cpu/softmax_tile.h"

namespace salebench::cpu {
namespace {

int strides(int tokens, int stride) {
  return round_up(tokens, stride) / stride;
}

/// Strided query rows [begin, end), each with its tokens in reverse order, as [rows padded, stride * dim]; zero beyond
/// q_len.
void pack_reversed(const HostProblem& p, int head, int stride, int begin, int end, float factor,
                   std::vector<float>& out) {
  const int dim = p.shape.head_dim;
  out.assign(std::size_t(round_up(end - begin, kRowStep)) * stride * dim, 0.0f);
  for (int token = begin * stride; token < std::min(p.shape.q_len, end * stride); ++token) {
    const int row = token / stride - begin, place = stride - 1 - token % stride;
    const float* const q = p.q_head(head) + std::size_t(token) * dim;
    float* const packed = &out[(std::size_t(row) * stride + place) * dim];
    for (int d = 0; d < dim; ++d) packed[d] = q[d] * factor;
  }
}

/// Keys of every KV head in strides: row j holds keys [stride * j, stride * (j + 1)) one after the other.
std::vector<PackedHead> pack_strided_keys(const HostProblem& p, int stride) {
  HostProblem strided = p;
  strided.shape.kv_len = strides(p.shape.kv_len, stride);
  strided.shape.head_dim = p.shape.head_dim * stride;
  std::vector<float> padded;  // row-major keys are strided keys already, but for the end
  if (p.shape.kv_len % stride != 0) {
    padded.resize(p.shape.kv_heads * strided.kv_head_size());
    for (int h = 0; h < p.shape.kv_heads; ++h)
      std::copy_n(p.k_head(h), p.kv_head_size(), &padded[h * strided.kv_head_size()]);
    strided.k = padded;
  }
  return pack_heads(strided, false);
}

}  // namespace

std::vector<float> antidiagonal_mass(const HostProblem& p, int stride, const BlockGrid& grid) {
  const std::vector<PackedHead> keys = pack_strided_keys(p, stride);
  const int rows = strides(p.shape.q_len, stride), columns = strides(p.shape.kv_len, stride);
  const int block_rows = grid.block.q / stride, block_columns = grid.block.k / stride;
  const int tile_rows = std::max(1, kRowTile / block_rows) * block_rows;  // whole query blocks
  const std::size_t width = round_up(columns, kPanelKeys);
  std::vector<float> mass(std::size_t(p.shape.q_heads) * grid.q_blocks() * grid.k_blocks());
#pragma omp parallel
  {
    std::vector<float> queries, map(round_up(tile_rows, kRowStep) * width);
#pragma omp for collapse(2) schedule(dynamic)
    for (int tile = (rows - 1) / tile_rows; tile >= 0; --tile) {  // the longest rows first
      for (int head = 0; head < p.shape.q_heads; ++head) {
        const int begin = tile * tile_rows, end = std::min(rows, begin + tile_rows);
        pack_reversed(p, head, stride, begin, end, p.scale * std::numbers::log2e_v<float> / float(stride), queries);
        ScoreTask task;
        task.q = queries.data();
        task.rows = end - begin;
        task.dim = p.shape.head_dim * stride;
        task.kv = &keys[p.shape.kv_head_of(head)];
        task.limits.first_position = strides(p.shape.offset(), stride) + begin;
        task.limits.kv_len = columns;
        const int key_end = std::min(columns, task.limits.key_end(task.rows - 1));
        softmax_tile(task, key_end, map.data(), width);
        for (int r = begin; r < end; ++r) {
          float* const out = &mass[(std::size_t(head) * grid.q_blocks() + r / block_rows) * grid.k_blocks()];
          for (int j = 0; j < key_end; ++j) out[j / block_columns] += map[(r - begin) * width + j];
        }
      }
    }
  }
  return mass;
}

}  // namespace salebench::cpu
