// Calibrated values of a method's knob, as `salebench calibrate` writes and methods read them: a JSON file.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/metrics.h"
#include "core/params.h"

namespace salebench {

/// A problem that values were fitted to, or that they were scored on.
struct CalibratedProblem {
  std::string dataset, problem, fingerprint;
  int length = 0;                  ///< tokens
  std::vector<Accuracy> fit;       ///< [q_heads], figures that calibrations have; empty where the data was held out
  std::vector<Accuracy> held_out;  ///< [q_heads]; empty where all rows were fitted to
};

struct CalibrationFile {
  std::string method;
  int method_version = 1;
  std::string parameter;  ///< the knob
  ParamValues settings;   ///< the method's other parameters
  std::string metric;     ///< of the target: rel_l2, l1_per_token or recall
  double target = 0;
  std::string scope, search, fit;
  bool global = false;                                ///< one value for everything
  double value = 0;                                   ///< where global
  std::map<std::string, std::vector<double>> values;  ///< by problem id, [q_heads]; where not global
  /// By problem id, [q_heads], where heads chose settings of their own: Method::head_params() of each.
  std::map<std::string, std::vector<ParamValues>> head_settings;
  std::vector<CalibratedProblem> problems;
};

/// Writes atomically. Throws WriteError.
void write_calibration(const std::string& path, const CalibrationFile& file);

/// Throws DataError for a missing file, or one that `salebench calibrate` did not write.
CalibrationFile read_calibration(const std::string& path);

}  // namespace salebench
