#include "kernels/cuda/hopper/tensor_map.h"

#include <algorithm>

#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {
namespace {

constexpr int kHalf = 64, kGroupRows = 8, kElement = 2;

/// The driver's own function, so that programs start without the driver.
auto encode_function() {
  static const auto function = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
    SALEBENCH_CUDA_CHECK(
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result));
    if (result != cudaDriverEntryPointSuccess)
      throw DeviceError("the driver has no cuTensorMapEncodeTiled: it must be of CUDA 12 or later", false);
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(found);
  }();
  return function;
}

CUtensorMapDataType type_of(Dtype dtype) {
  return dtype == Dtype::fp16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
}

CUtensorMap map_halves(const void* base, Dtype dtype, int heads, int rows, int head_dim, int box_rows, int box_halves) {
  const std::int64_t row = std::int64_t(head_dim) * kElement;
  return make_tensor_map(base, type_of(dtype),
                         {{kHalf, kElement, kHalf},
                          {rows, row, box_rows},
                          {head_dim / kHalf, kHalf * kElement, box_halves},
                          {heads, rows * row, 1}});
}

}  // namespace

CUtensorMap make_tensor_map(const void* base, CUtensorMapDataType type,
                            std::initializer_list<MapDimension> dimensions) {
  cuuint64_t sizes[5], strides[5];
  cuuint32_t boxes[5], steps[5];
  int rank = 0;
  for (const MapDimension& d : dimensions) {
    sizes[rank] = cuuint64_t(d.size), strides[rank] = cuuint64_t(d.stride);
    boxes[rank] = cuuint32_t(d.box), steps[rank] = 1;
    ++rank;
  }
  const bool wide = boxes[0] * strides[0] == 128;
  CUtensorMap map;
  const CUresult result =
      encode_function()(&map, type, cuuint32_t(rank), const_cast<void*>(base), sizes, strides + 1, boxes, steps,
                        CU_TENSOR_MAP_INTERLEAVE_NONE, wide ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B,
                        CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS)
    throw DeviceError("cuTensorMapEncodeTiled failed with error " + std::to_string(int(result)), false);
  return map;
}

CUtensorMap map_rows(const void* base, Dtype dtype, int heads, int rows, int head_dim, int box_rows) {
  return map_halves(base, dtype, heads, rows, head_dim, box_rows, head_dim / kHalf);
}

CUtensorMap map_half_rows(const void* base, Dtype dtype, int heads, int rows, int head_dim, int box_rows) {
  return map_halves(base, dtype, heads, rows, head_dim, box_rows, 1);
}

CUtensorMap map_byte_rows(const void* base, int heads, int rows, int row_bytes, int box_rows) {
  const std::int64_t row = row_bytes;
  return make_tensor_map(base, CU_TENSOR_MAP_DATA_TYPE_UINT8,
                         {{row, 1, row_bytes}, {rows, row, box_rows}, {1, row, 1}, {heads, rows * row, 1}});
}

CUtensorMap map_row_groups(const void* base, Dtype dtype, int heads, int rows, int head_dim, int box_rows) {
  const std::int64_t row = std::int64_t(head_dim) * kElement;
  const int halves = head_dim / kHalf;
  return make_tensor_map(base, type_of(dtype),
                         {{kHalf, kElement, kHalf},
                          {kGroupRows, row, kGroupRows},
                          {halves, kHalf * kElement, halves},
                          {std::max(1, rows / kGroupRows), kGroupRows * row, box_rows / kGroupRows},
                          {heads, rows * row, 1}});
}

}  // namespace salebench::cuda
