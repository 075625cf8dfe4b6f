// Stands in for cuda_cell.cpp in a build without CUDA.
#include "harness/cell_backends.h"

namespace salebench {

void run_cuda_cell(const Plan&, const PlannedCell&, const TruthCache&, CellResult&) {
  throw Unsupported("built without CUDA");
}

std::string why_not_on_cuda(const PlannedCell&) {
  return "built without CUDA";
}

}  // namespace salebench
