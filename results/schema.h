// The columns of a result: one table of name, unit, meaning and member drives the writer, the reader, the report and
// the documentation (results/README.md, by `salebench list columns`).
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "core/problem.h"
#include "results/column.h"

namespace salebench {

inline constexpr double kNoValue = std::numeric_limits<double>::quiet_NaN();

/// A problem without the texts that say where it comes from, which stand once, in /problems.
ProblemInfo without_texts(ProblemInfo problem);

/// One cell: a method with its parameters on one problem. Doubles are NaN and texts empty where there is nothing to
/// say.
struct CellRecord {
  std::int64_t cell = 0;
  ProblemInfo problem;  ///< of the shape in use; without its texts, which stand in /problems
  std::string id, method, role, params, settings, knob, dataset, fingerprint, backend, cache, status, reason, repro,
      baseline, baseline_kernel, device, gpu_before, gpu_after, host, simd, note, git_sha, finished_utc;
  std::int64_t method_version = 0, repeat = 1, threads = 0, round = 0, truth_rows = 0, signal = 0, samples = 0,
               converged = 0, timing_usable = 0, busy = 0;
  double density = kNoValue, tile_density = kNoValue, recall_mean = kNoValue, recall_p05 = kNoValue,
         recall_min = kNoValue, rel_l2 = kNoValue, rel_l2_worst = kNoValue, mask_rel_l2 = kNoValue, max_abs = kNoValue,
         l1_per_token = kNoValue, cos_min = kNoValue, flops_executed = kNoValue, flops_dense = kNoValue;
  double select_s = kNoValue, index_s = kNoValue, attend_s = kNoValue, total_s = kNoValue, total_lo_s = kNoValue,
         total_hi_s = kNoValue, dense_s = kNoValue, speedup = kNoValue, speedup_lo = kNoValue, speedup_hi = kNoValue,
         noise = kNoValue, sm_clock_mhz = kNoValue, bytes_peak = kNoValue, device_bytes_peak = kNoValue,
         wall_s = kNoValue, load = kNoValue, other_cores = kNoValue;
};

/// One query head of a cell.
struct HeadRecord {
  std::int64_t cell = 0, head = 0;
  double density = kNoValue, tile_density = kNoValue, recall_mean = kNoValue, recall_p05 = kNoValue,
         recall_min = kNoValue, rel_l2 = kNoValue, mask_rel_l2 = kNoValue, max_abs = kNoValue, l1_per_token = kNoValue,
         cos_min = kNoValue;
};

/// One timed phase of one sample of a cell.
struct SampleRecord {
  std::int64_t cell = 0, sample = 0;
  std::string phase;
  double seconds = kNoValue, sm_clock_mhz = kNoValue;
};

/// One captured problem that cells refer to.
struct ProblemRecord {
  std::string path;
  ProblemInfo info;
};

/// One value that a calibration found, with its figures on one problem: of a head, or of the problem as a whole.
struct CalibrationRecord {
  ProblemInfo problem;  ///< of the shape in use; without its texts
  std::string method, role, settings, params, knob, metric, scope, search, fit, dataset, fingerprint, status, reason,
      file;
  std::int64_t method_version = 0, head = -1, evaluations = 0, threads = 0;
  double target = kNoValue, value = kNoValue;
  double fit_density = kNoValue, fit_recall = kNoValue, fit_rel_l2 = kNoValue, fit_l1_per_token = kNoValue;
  double held_out_density = kNoValue, held_out_recall = kNoValue, held_out_rel_l2 = kNoValue,
         held_out_l1_per_token = kNoValue;
  double select_s = kNoValue, attend_s = kNoValue;
};

/// Markdown tables of all columns, for the documentation.
std::string schema_markdown();

}  // namespace salebench
