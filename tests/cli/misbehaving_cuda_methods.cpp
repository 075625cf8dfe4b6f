// Methods that break on the device in every way that a run must survive. Part of salebench_misbehaving where there is
// CUDA.
#include <utility>

#include "core/registry.h"
#include "kernels/cuda/select/mask_builders.h"
#include "methods/cuda/masked_method.h"
#include "methods/shared/budget.h"
#include "tests/kernels/cuda/misbehaving_kernels.h"

namespace salebench {
namespace {

/// Keeps every causal tile and attends to them, which is right; those below each break one thing.
class KeepsAllOnDevice : public MaskedDeviceMethod {
 public:
  using MaskedDeviceMethod::MaskedDeviceMethod;
  void select(cuda::Stream stream) override { cuda::causal_mask(in().mask, stream); }

 protected:
  std::size_t output_values() const {
    const Shape& s = in().problem.shape;
    return std::size_t(s.q_heads) * s.q_len * s.head_dim;
  }
};

class FaultsOnDevice : public KeepsAllOnDevice {
 public:
  using KeepsAllOnDevice::KeepsAllOnDevice;
  void attend(cuda::Stream stream) override { cuda::write_to_bad_pointer(stream); }
};

class HangsOnDevice : public KeepsAllOnDevice {
 public:
  using KeepsAllOnDevice::KeepsAllOnDevice;
  void select(cuda::Stream stream) override {
    cuda::spin(3600, stream);
    KeepsAllOnDevice::select(stream);
  }
};

class WantsAllMemory : public KeepsAllOnDevice {
 public:
  using KeepsAllOnDevice::KeepsAllOnDevice;

 private:
  cuda::DeviceBuffer much_{std::size_t(1) << 50};
};

class NeverRepeats : public KeepsAllOnDevice {
 public:
  using KeepsAllOnDevice::KeepsAllOnDevice;
  void attend(cuda::Stream stream) override {
    KeepsAllOnDevice::attend(stream);
    cuda::add_call_count(in().problem.dtype, in().out.output, output_values(), stream);
  }
};

class SelectsOthersLater : public KeepsAllOnDevice {
 public:
  using KeepsAllOnDevice::KeepsAllOnDevice;
  void select(cuda::Stream stream) override {
    KeepsAllOnDevice::select(stream);
    if (calls_++ > 0) cuda::fill_bytes(in().mask.bits, 1, 0, stream);
  }

 private:
  int calls_ = 0;
};

class KeepsTheFuture : public KeepsAllOnDevice {
 public:
  using KeepsAllOnDevice::KeepsAllOnDevice;
  void select(cuda::Stream stream) override {
    KeepsAllOnDevice::select(stream);
    cuda::fill_bytes(in().mask.bits, 1, 0xff, stream);
  }
};

class WritesNan : public KeepsAllOnDevice {
 public:
  using KeepsAllOnDevice::KeepsAllOnDevice;
  void attend(cuda::Stream stream) override {
    KeepsAllOnDevice::attend(stream);
    cuda::fill_bytes(static_cast<char*>(in().out.output) + 2 * (output_values() - 1), 2, 0xff, stream);
  }
};

/// Makes the second half of the output zero, by design as it were.
class ForgetsHalf : public KeepsAllOnDevice {
 public:
  using KeepsAllOnDevice::KeepsAllOnDevice;
  void attend(cuda::Stream stream) override {
    KeepsAllOnDevice::attend(stream);
    cuda::fill_bytes(static_cast<char*>(in().out.output) + output_values(), output_values(), 0, stream);
  }
};

/// Leaves the second half of the output as it was.
class WritesHalf : public KeepsAllOnDevice {
 public:
  explicit WritesHalf(const cuda::DeviceInputs& inputs) : KeepsAllOnDevice(inputs), found_(output_values()) {}
  void attend(cuda::Stream stream) override {
    void* const second_half = static_cast<char*>(in().out.output) + found_.bytes();
    cuda::copy_on_device(found_.data(), second_half, found_.bytes(), stream);
    KeepsAllOnDevice::attend(stream);
    cuda::copy_on_device(second_half, found_.data(), found_.bytes(), stream);
  }

 private:
  cuda::DeviceBuffer found_;  // bytes: values of 16 bits / 2
};

/// Copies its first output.
class CopiesItsFirst : public KeepsAllOnDevice {
 public:
  explicit CopiesItsFirst(const cuda::DeviceInputs& inputs) : KeepsAllOnDevice(inputs), first_(2 * output_values()) {}
  void attend(cuda::Stream stream) override {
    if (!std::exchange(done_, true)) {
      KeepsAllOnDevice::attend(stream);
      cuda::copy_on_device(first_.data(), in().out.output, first_.bytes(), stream);
    }
    cuda::copy_on_device(in().out.output, first_.data(), first_.bytes(), stream);
  }

 private:
  cuda::DeviceBuffer first_;
  bool done_ = false;
};

/// Selects honestly, but once: then copies its mask.
class CopiesItsFirstMask : public KeepsAllOnDevice {
 public:
  explicit CopiesItsFirstMask(const cuda::DeviceInputs& inputs)
      : KeepsAllOnDevice(inputs),
        first_(mask_bytes()),
        selecting_(cuda::bind(*make_method("block_topk", {{"budget", "0.6"}}), inputs)) {}
  void select(cuda::Stream stream) override {
    if (!std::exchange(done_, true)) {
      selecting_->select(stream);
      cuda::copy_on_device(first_.data(), in().mask.bits, first_.bytes(), stream);
    }
    cuda::copy_on_device(in().mask.bits, first_.data(), first_.bytes(), stream);
  }

 private:
  cuda::DeviceBuffer first_;
  std::unique_ptr<cuda::DeviceMethod> selecting_;
  bool done_ = false;
};

/// The method around a bound one.
template <class Bound>
class OnDevice : public Method {
 public:
  BlockSize block() const override { return {64, 64}; }
  void select(const HostProblem&, MaskView mask) const override { keep_causal(mask); }
  std::any device_side(const Shape&) const override { return Side(); }

  struct Side {};
};

class Forgets : public OnDevice<ForgetsHalf> {
 public:
  bool exact_attend() const override { return false; }
  bool treats_heads_alike() const override { return false; }
};

using Fault = OnDevice<FaultsOnDevice>;
using Hang = OnDevice<HangsOnDevice>;
using Oom = OnDevice<WantsAllMemory>;
using Flaky = OnDevice<NeverRepeats>;
using OtherTiles = OnDevice<SelectsOthersLater>;
using Future = OnDevice<KeepsTheFuture>;
using Nan = OnDevice<WritesNan>;
using Unwritten = OnDevice<WritesHalf>;
using Replay = OnDevice<CopiesItsFirst>;
using ReplayMask = OnDevice<CopiesItsFirstMask>;

SALEBENCH_DEVICE_SIDE(Forgets::Side, ForgetsHalf);
SALEBENCH_DEVICE_SIDE(Fault::Side, FaultsOnDevice);
SALEBENCH_DEVICE_SIDE(Hang::Side, HangsOnDevice);
SALEBENCH_DEVICE_SIDE(Oom::Side, WantsAllMemory);
SALEBENCH_DEVICE_SIDE(Flaky::Side, NeverRepeats);
SALEBENCH_DEVICE_SIDE(OtherTiles::Side, SelectsOthersLater);
SALEBENCH_DEVICE_SIDE(Future::Side, KeepsTheFuture);
SALEBENCH_DEVICE_SIDE(Nan::Side, WritesNan);
SALEBENCH_DEVICE_SIDE(Unwritten::Side, WritesHalf);
SALEBENCH_DEVICE_SIDE(Replay::Side, CopiesItsFirst);
SALEBENCH_DEVICE_SIDE(ReplayMask::Side, CopiesItsFirstMask);

}  // namespace

SALEBENCH_METHOD(Forgets, "test_cuda_forgets", 1,
                 "its second half of the heads is zero, which it says is no exact attention");
SALEBENCH_METHOD(Fault, "test_cuda_fault", 1, "writes to no memory on the device");
SALEBENCH_METHOD(Hang, "test_cuda_hang", 1, "runs for an hour on the device");
SALEBENCH_METHOD(Oom, "test_cuda_oom", 1, "wants more memory than any device has");
SALEBENCH_METHOD(Flaky, "test_cuda_flaky", 1, "never repeats its output");
SALEBENCH_METHOD(OtherTiles, "test_cuda_other_tiles", 1, "selects other tiles on later calls");
SALEBENCH_METHOD(Future, "test_cuda_future", 1, "keeps key blocks past the causal end");
SALEBENCH_METHOD(Nan, "test_cuda_nan", 1, "puts a NaN in the output");
SALEBENCH_METHOD(Replay, "test_cuda_replay", 1, "computes once and copies what it found");
SALEBENCH_METHOD(ReplayMask, "test_cuda_replay_mask", 1, "selects once and copies its mask");
SALEBENCH_METHOD(Unwritten, "test_cuda_unwritten", 1, "writes half of the output");

}  // namespace salebench
