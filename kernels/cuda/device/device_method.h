// A method at work on a CUDA device: bound to one problem and its buffers, in the phases that are timed apart.
#pragma once

#include <any>
#include <memory>
#include <string>
#include <typeinfo>

#include "core/block_mask.h"
#include "core/method.h"
#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

/// What a method is bound to; all of it outlives the bound method.
struct DeviceInputs {
  DeviceProblem problem;
  HostProblem host;  ///< the same values, for masks that are made before the timing
  MaskView mask;     ///< in device memory; select() writes every word of its rows
  DeviceAttention out;
  const float* exact_lse = nullptr;           ///< [q_heads, q_len] of dense attention, for oracles
  Arithmetic arithmetic = Arithmetic::exact;  ///< bind() sets it to the method's
};

/// A bound method. Its constructor does the untimed work: it uploads what is per head, plans, and takes all memory that
/// the phases need. The phases are called in this order; each only launches into the stream, without allocation, host
/// synchronisation or copies from host memory.
class DeviceMethod {
 public:
  virtual ~DeviceMethod() = default;

  /// False where selecting is no part of the method's work; select() is then called before the timed phases.
  virtual bool has_selection() const { return true; }
  virtual void select(Stream stream) = 0;
  /// False where attention needs no lists.
  virtual bool has_index() const { return true; }
  /// The mask to lists of key chunks.
  virtual void index(Stream stream) = 0;
  virtual void attend(Stream stream) = 0;
  /// The kernel that attends.
  virtual std::string attend_kernel() const = 0;
  /// Where the mask is selected: "cuda", "cpu", or "" where the method selects nothing.
  virtual std::string selected_on() const { return "cuda"; }
  /// What the reader of the result must know of how this device does it; mostly empty.
  virtual std::string remark() const { return {}; }
};

using BoundMethod = std::unique_ptr<DeviceMethod>;

/// Why the method, as it is parametrised, does not run on CUDA devices; empty if it does. Needs no device. Throws
/// std::logic_error for a device side that nobody registered.
std::string why_not(const Method& method, const Shape& shape);

/// The method at work on a device, after prepare(): its device_side() where the device runs that, else a mask that
/// select_fast() makes once, untimed, under the shared attention. Throws Unsupported where why_not() has a reason, or
/// where the current device has no kernel for the method's arithmetic.
BoundMethod bind(const Method& method, const DeviceInputs& inputs);

/// Makes what runs a device side of the type; a file of methods/cuda does so before main, by SALEBENCH_DEVICE_SIDE.
/// `bind` returns nothing where the current device can't run it, `why_not` may say why this build can't.
bool register_device_side(const std::type_info& type, BoundMethod (*bind)(const std::any&, const DeviceInputs&),
                          std::string (*why_not)(const std::any&));

}  // namespace salebench::cuda
