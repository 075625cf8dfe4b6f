// Calibrated values of a method's knob, as `salebench calibrate` writes and methods read them: a JSON file.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/params.h"

namespace salebench {

/// The figures of one head, over the rows that the value was fitted to or over held-out ones.
struct CalibratedHead {
  double density = 0, recall = 0, rel_l2 = 0, l1_per_token = 0;
};

/// A problem that values were fitted to, or that they were scored on.
struct CalibratedProblem {
  std::string dataset, problem, fingerprint;
  int length = 0;                        ///< tokens
  std::vector<CalibratedHead> fit;       ///< [q_heads]; empty for a data set that was held out
  std::vector<CalibratedHead> held_out;  ///< [q_heads]; empty where all rows were fitted to
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
  std::vector<CalibratedProblem> problems;
};

/// Writes atomically. Throws WriteError.
void write_calibration(const std::string& path, const CalibrationFile& file);

/// Throws DataError for a missing file, or one that `salebench calibrate` did not write.
CalibrationFile read_calibration(const std::string& path);

}  // namespace salebench
