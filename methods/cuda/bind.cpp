// Methods bound to a device: their device sides where one is registered, else masks from the CPU.
#include <map>
#include <stdexcept>
#include <typeindex>

#include "methods/cuda/host_mask.h"

namespace salebench::cuda {
namespace {

struct Side {
  BoundMethod (*bind)(const std::any&, const DeviceInputs&);
  std::string (*why_not)(const std::any&);
};

std::map<std::type_index, Side>& sides() {
  static std::map<std::type_index, Side> all;
  return all;
}

/// Null for a method that has none, as it is parametrised. Throws std::logic_error where no file here runs it.
const Side* side_of(const std::any& value) {
  if (!value.has_value()) return nullptr;
  const auto found = sides().find(value.type());
  if (found == sides().end())
    throw std::logic_error(std::string("no file of methods/cuda registers the device side ") + value.type().name());
  return &found->second;
}

}  // namespace

bool register_device_side(const std::type_info& type, BoundMethod (*bind)(const std::any&, const DeviceInputs&),
                          std::string (*why_not)(const std::any&)) {
  if (!sides().emplace(type, Side{bind, why_not}).second)
    throw std::logic_error(std::string("two files of methods/cuda register the device side ") + type.name());
  return true;
}

std::string why_not(const Method& method, const Shape& shape) {
  if (method.arithmetic() == Arithmetic::sage) return "attend: CUDA kernels have exact, int8 and fp8";
  const std::any value = method.device_side(shape);
  if (const Side* side = side_of(value)) {
    if (std::string why = side->why_not(value); !why.empty()) return why;
  } else if (!method.shared_attend()) {
    return "its attention, as it is parametrised, has no CUDA kernel";
  }
  const char* why = why_unsupported(method.block());
  return why ? why : "";
}

BoundMethod bind(const Method& method, const DeviceInputs& all) {
  DeviceInputs inputs = all;
  inputs.arithmetic = method.arithmetic();
  if (const std::string why = why_not(method, inputs.problem.shape); !why.empty()) throw Unsupported(why);
  if (inputs.arithmetic != Arithmetic::exact)
    if (const char* const why = why_not(AttentionKernel::hopper))
      throw Unsupported(std::string("attend: only Hopper's kernel takes 8 bits: ") + why);
  const std::any value = method.device_side(inputs.problem.shape);
  if (const Side* side = side_of(value))
    if (BoundMethod bound = side->bind(value, inputs)) return bound;
  return std::make_unique<HostMask>(method, inputs);
}

}  // namespace salebench::cuda
