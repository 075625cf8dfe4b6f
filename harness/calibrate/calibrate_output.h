// The output folder of a calibration: a JSON file for each setting and target, calibration.h5, and run.yaml.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "harness/calibrate/calibrate_records.h"

namespace salebench {

/// Writes all files anew from what was found so far by these calibrations of one config, each atomically, and fills the
/// records' `file`. run.yaml is the sweep that measures every setting at its values; it is left alone while there is
/// none. Returns a sentence for each setting that run.yaml must leave out. Throws WriteError.
std::vector<std::string> write_calibration_folder(const std::string& folder,
                                                  const std::vector<CalibrateConfig>& configs,
                                                  const std::vector<MethodSetting>& settings,
                                                  std::vector<CalibrationRecord>& records,
                                                  const std::map<std::string, std::string>& attributes);

}  // namespace salebench
