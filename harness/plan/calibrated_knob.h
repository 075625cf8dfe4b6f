// A method that reads calibrated values: fills its knob for one problem, before it is prepared.
#pragma once

#include <string>

#include "core/method.h"
#include "results/result_files.h"

namespace salebench {

/// The parameter that sets the method's knob; null for a method without one.
const Param* knob_param(const Params& params);

/// The name of the parameter for the knob's calibration file; empty if the method, with these parameters, has none.
std::string knob_file_param(const std::string& method, const ParamValues& values);

/// If the method names a calibration file, sets its knob to that file's values for the problem; `repeat` copies of the
/// heads share the values of the first. Returns a remark where the values come from other data or other settings of the
/// method. Throws Unsupported for values of another method, version or head count, DataError for a problem that the
/// file does not know and for a bad file.
std::string read_calibrated_knob(Method& method, const std::string& name, const std::string& problem_id,
                                 const std::string& fingerprint, const Shape& shape, int repeat);

/// Writes what target a cell's values were calibrated for. Returns that and what they reach over all rows: "calibrated
/// for rel_l2 0.05 a head; over all rows 0.041, worst head 0.063". Nothing for a cell without a calibration file.
std::string note_target(Method& method, CellResult& result);

}  // namespace salebench
