#include "harness/plan/backends.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "harness/support/errors.h"
#include "kernels/cpu/attention.h"
#include "kernels/cuda/device/device_method.h"
#include "kernels/cuda/device/devices.h"

namespace salebench {
namespace {

class Cpu : public Backend {
 public:
  std::string name() const override { return "cpu"; }
  std::string why_not(const Method& method, const ProblemInfo&, const Shape& shape) const override {
    if (shape.head_dim > cpu::kMaxHeadDim)
      return fmt::format("head_dim {}: the CPU kernels go up to {}", shape.head_dim, cpu::kMaxHeadDim);
    try {
      method.check_cpu();
      return {};
    } catch (const Unsupported& why) {
      return why.what();
    }
  }
  std::string selection(const Method&) const override { return "selects on the CPU"; }
  bool makes_truth(int) const override { return false; }
};

class Cuda : public Backend {
 public:
  std::string name() const override { return "cuda"; }
  std::string why_none() const override { return cuda_devices().why_none; }
  std::string why_not(const Method& method, const ProblemInfo& problem, const Shape& shape) const override {
    if (problem.dtype != "float16" && problem.dtype != "bfloat16")
      return fmt::format("{} values: the CUDA kernels take float16 and bfloat16", problem.dtype);
    if (const char* why = cuda::why_unsupported(shape, float(problem.scale))) return why;
    return cuda::why_not(method, shape);
  }
  std::string selection(const Method& method) const override {
    const Shape any{1, 1, 4096, 4096, 64};
    if (method.device_side(any).has_value()) return method.has_selection() ? "selects on the device" : "on the device";
    return method.shared_attend() && !cuda::why_unsupported(method.block()) ? "mask from the CPU" : "";
  }
  bool makes_truth(int truth_rows) const override { return truth_rows == 0; }
  double planned_flops(double) const override { return 2e14; }  // the machine that plans may have no GPU to probe
};

}  // namespace

const std::vector<const Backend*>& backends() {
  static const Cpu cpu;
  static const Cuda cuda;
  static const std::vector<const Backend*> all = {&cpu, &cuda};
  return all;
}

std::vector<std::string> gpus_called(bool all, const std::vector<int>& numbers) {
  std::vector<std::string> uuids;
  if (!all && numbers.empty()) return uuids;  // without a look at the devices, which takes CUDA a while
  const CudaDevices found = cuda_devices();
  if (!found.why_none.empty()) return uuids;
  for (const CudaDevice& device : found.devices) uuids.push_back(device.uuid);
  if (all) return uuids;
  std::vector<std::string> chosen;
  for (const int number : numbers) {
    if (std::size_t(number) >= uuids.size())
      throw NoDevice(fmt::format("devices: there is no GPU {}, of the {} here the last is {}", number, uuids.size(),
                                 uuids.size() - 1));
    chosen.push_back(uuids[std::size_t(number)]);
  }
  return chosen;
}

const Backend& backend_called(const std::string& name) {
  std::string known;
  for (const Backend* backend : backends()) {
    if (backend->name() == name) return *backend;
    known += (known.empty() ? "" : " or ") + backend->name();
  }
  throw std::invalid_argument(fmt::format("'{}' is not {}", name, known));
}

}  // namespace salebench
