#include "harness/support/errors.h"

#include "core/atomic_file.h"
#include "datasets/dataset.h"

namespace salebench {
namespace {

template <class... Errors>
bool is_any(const std::exception& error) {
  return (dynamic_cast<const Errors*>(&error) || ...);
}

}  // namespace

ExitCode exit_code_of(const std::exception& error) {
  if (is_any<UsageError, std::invalid_argument>(error)) return kUsage;
  if (is_any<DataError, NoDevice>(error)) return kNoDeviceOrData;
  return is_any<WriteError>(error) ? kCannotWrite : kSomeCellsFailed;
}

}  // namespace salebench
