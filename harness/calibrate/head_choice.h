// Heads that choose among settings of a method, such as SALE's scans: each takes the one whose selection and density
// together are cheapest at the target.
#pragma once

#include <vector>

#include "datasets/calibration_file.h"
#include "harness/calibrate/calibrate_records.h"

namespace salebench {

/// What the heads of all problems chose among settings that differ in the method's head_params() alone.
struct HeadChoice {
  MethodSetting common;                    ///< what the settings share
  CalibrationFile file;                    ///< values and settings a head
  std::vector<CalibrationRecord> records;  ///< as calibration_records() has them; of whole problems only what follows
                                           ///< from the heads: density and the worst error
};

/// All values of a setting but those that heads may have each for itself, also those that the config leaves out.
ParamValues shared_by_heads(const MethodSetting& setting);

/// Every choice that there is for a target in one calibration with scope: head. A head takes, of the settings with
/// which it meets the target, the one with the least sum of Method::selection_share() and density; of those that all
/// miss it the one with the least sum. Only settings that `records` has for every problem take part.
std::vector<HeadChoice> choose_by_head(const CalibrateConfig& config, const std::vector<MethodSetting>& settings,
                                       const Target& target, const std::vector<CalibrationRecord>& records);

}  // namespace salebench
