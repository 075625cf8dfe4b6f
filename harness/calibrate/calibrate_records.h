// The rows of a calibration: what was found, as the table /calibration holds it and people read it.
#pragma once

#include <string>
#include <vector>

#include "datasets/calibration_file.h"
#include "harness/calibrate/calibrate_group.h"
#include "results/schema.h"

namespace salebench {

/// One row for each problem of the group and one for each of its heads.
std::vector<CalibrationRecord> calibration_records(const MethodSetting& setting, const CalibrationGroup& group,
                                                   const GroupOutcome& outcome, const CalibrateConfig& config);

/// Whether a row is of a setting at a target in one calibration, and has values.
bool belongs(const CalibrationRecord& record, const CalibrateConfig& config, const MethodSetting& setting,
             const Target& target);

/// What the calibration file of a setting says beside the values: the setting, of which `row` is one row, and the
/// search.
CalibrationFile file_without_values(const MethodSetting& setting, const CalibrationRecord& row);

/// A line for each setting, target and problem; those that compare, of one problem and target, stand together.
std::string calibration_text(const std::vector<CalibrationRecord>& records);

}  // namespace salebench
