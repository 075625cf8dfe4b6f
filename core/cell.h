// A cell of a sweep, as facts: what it is, how it ended, what it cost and where. Plans, files and results hold these
// members through the columns of results/cell_columns.h; its accuracy is that of core/metrics.h.
#pragma once

#include <cstdint>
#include <string>

#include "core/metrics.h"

namespace salebench {

/// A method with its parameters on the data that it works on.
struct MethodOnData {
  std::string method;       ///< registered name
  int method_version = 0;   ///< raised when a method's results change
  std::string role;         ///< method, baseline or oracle
  std::string params;       ///< all parameters, JSON
  std::string settings;     ///< those that the config sets, for people
  std::string knob;         ///< the parameter that trades density for error; empty for none
  std::string dataset;      ///< path of the capture
  std::string fingerprint;  ///< of the problem as used
  int threads = 0;          ///< CPU threads
};

/// What defines a cell.
struct CellSettings : MethodOnData {
  std::string id;             ///< method-hash
  std::string label;          ///< what the config calls the method with these settings; empty for its name
  std::string dataset_label;  ///< what the config calls the capture; empty for an end of its path
  int repeat = 1;             ///< copies of the captured heads
  std::string backend;
  int round = 0;  ///< which of the measurements of this cell
  std::string cache, baseline;
};

/// How a cell ended.
struct CellOutcome {
  std::string status;
  std::string reason;         ///< why the status is not ok, or remarks
  std::string selected_on;    ///< backend on which the mask was selected; "" for none
  std::string attend_kernel;  ///< of backend cuda
  int signal = 0;             ///< that ended the worker; 0 for none
  std::string repro;          ///< command that runs the cell again
  std::string target_metric;  ///< what its values were calibrated for: rel_l2, l1_per_token or recall; "" for nothing
  std::string target_scope;   ///< head, layer or global
  double target = kNoValue;
};

/// Times in seconds, with what they rest on. NaN where there are none.
struct CellTimes {
  double select_s = kNoValue, index_s = kNoValue, attend_s = kNoValue;
  double total_s = kNoValue, total_lo_s = kNoValue, total_hi_s = kNoValue;
  double dense_s = kNoValue, speedup = kNoValue, speedup_lo = kNoValue, speedup_hi = kNoValue;
  double noise = kNoValue, sm_clock_mhz = kNoValue;
  std::string baseline_kernel;
  std::int64_t samples = 0;
  int converged = 0, timing_usable = 0;  ///< 1 for true
};

/// Where and when a cell was measured, and what it took.
struct CellProvenance {
  std::string host, node, simd, device, device_uuid, gpu_before, gpu_after, note, plugin, git_sha, finished_utc;
  double bytes_peak = kNoValue, device_bytes_peak = kNoValue, wall_s = kNoValue, load = kNoValue,
         other_cores = kNoValue;
  std::int64_t truth_rows = 0;  ///< query rows that the accuracy is over
  int busy = 0;                 ///< 1 where other processes took cores from the cell's threads
};

}  // namespace salebench
