// How a file of this folder says which device side of a method it runs: SALEBENCH_DEVICE_SIDE(Side, Class).
#pragma once

#include <any>
#include <memory>
#include <type_traits>

#include "kernels/cuda/device/device_method.h"

namespace salebench {

/// Makes a Class from a side and the inputs, or from the inputs alone; nothing where Class::runs_here(side) says that
/// the current device is none for it.
template <class Side, class Class>
cuda::BoundMethod bind_side(const std::any& side, const cuda::DeviceInputs& inputs) {
  if constexpr (requires(const Side& s) { Class::runs_here(s); })
    if (!Class::runs_here(std::any_cast<const Side&>(side))) return nullptr;
  if constexpr (std::is_constructible_v<Class, const Side&, const cuda::DeviceInputs&>)
    return std::make_unique<Class>(std::any_cast<const Side&>(side), inputs);
  else
    return std::make_unique<Class>(inputs);
}

/// What Class::why_not(side) says, if there is such a function.
template <class Side, class Class>
std::string why_not_side(const std::any& side) {
  if constexpr (requires(const Side& s) { Class::why_not(s); }) return Class::why_not(std::any_cast<const Side&>(side));
  return {};
}

}  // namespace salebench

#define SALEBENCH_DEVICE_SIDE(Side, Class)                                                         \
  static const bool registered_##Class [[maybe_unused]] = ::salebench::cuda::register_device_side( \
      typeid(Side), ::salebench::bind_side<Side, Class>, ::salebench::why_not_side<Side, Class>)
