// The output folder of a calibration: a JSON file for each setting and target, calibration.h5, and run.yaml.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "harness/calibrate/calibrate_records.h"

namespace salebench {

struct WrittenCalibration {
  std::vector<std::string> left_out;      ///< a sentence for each setting that run.yaml must leave out
  std::vector<CalibrationRecord> chosen;  ///< where heads choose among settings (head_choice.h): what they chose
};

/// Writes all files anew from what was found so far by these calibrations of one config, each atomically, and fills the
/// records' `file`. run.yaml is the sweep that measures every setting at its values; it is left alone while there is
/// none. Throws WriteError.
WrittenCalibration write_calibration_folder(const std::string& folder, const std::vector<CalibrateConfig>& configs,
                                            const std::vector<MethodSetting>& settings,
                                            std::vector<CalibrationRecord>& records,
                                            const std::map<std::string, std::string>& attributes);

}  // namespace salebench
