// The columns of a cell's facts, for every record that has them among its bases.
#pragma once

#include "core/cell.h"
#include "results/column.h"

namespace salebench {

/// The method and what it works on.
template <class R>
std::vector<Column<R>> method_columns() {
  return {
      {"method", "", "registered name", &R::method},
      {"method_version", "", "raised when a method's results change", &R::method_version},
      {"role", "", "method, baseline or oracle (reads the true attention first; no competitor)", &R::role},
      {"params", "", "all parameters, JSON; without the calibrated one in a calibration", &R::params},
      {"settings", "", "the parameters that the config sets, for people", &R::settings},
      {"knob", "", "the parameter that trades density for error; empty for a method without one", &R::knob},
      {"dataset", "", "path of the capture", &R::dataset},
      {"fingerprint", "", "hash of the values, shape and attention of the problem as used", &R::fingerprint},
      {"threads", "", "CPU threads", &R::threads},
  };
}

/// What defines a cell.
template <class R>
std::vector<Column<R>> settings_columns() {
  return joined<R>(
      {{{"id", "", "method and hash of all that defines the cell; names its file", &R::id}},
       method_columns<R>(),
       {
           {"label", "", "what the config calls the method with these settings; empty for its name", &R::label},
           {"dataset_label", "", "what the config calls the capture; empty for an end of its path", &R::dataset_label},
           {"repeat", "", "copies of the captured heads", &R::repeat},
           {"backend", "", "cpu or cuda", &R::backend},
           {"round", "", "which of measure.rounds measurements of the same cell, from 0", &R::round},
           {"cache", "", "cold: inputs, or the L2 of a GPU, evicted before each sample; hot: not", &R::cache},
           {"baseline", "", "the method that dense_s times", &R::baseline},
       }});
}

/// How it ended.
template <class R>
std::vector<Column<R>> outcome_columns() {
  return {
      {"status", "", "ok, unsupported, incorrect, error, oom, timeout, crashed or interrupted", &R::status},
      {"reason", "", "why the status is not ok, or a remark on an ok cell", &R::reason},
      {"selected_on", "",
       "where the mask was selected, cpu or cuda; empty where the method selects nothing. Elsewhere than on the cell's "
       "backend it took no part in the times",
       &R::selected_on},
      {"attend_kernel", "",
       "on backend cuda the kernel that attends: hopper, hopper int8 or fp8, portable, or another's dense one",
       &R::attend_kernel},
      {"signal", "", "the signal that ended the worker; 0 for none", &R::signal},
      {"repro", "", "command that runs this cell again", &R::repro},
      {"target_metric", "", "what its values were calibrated for: rel_l2, l1_per_token or recall; empty for none",
       &R::target_metric},
      {"target_scope", "", "head, layer or global: what has a value of its own", &R::target_scope},
      {"target", "", "the limit that its values were calibrated for", &R::target},
  };
}

/// What it took.
template <class R>
std::vector<Column<R>> time_columns() {
  return {
      {"select_s", "s",
       "median time of selection, quantisation included; NaN where there is none to time, as with a mask from a file",
       &R::select_s},
      {"index_s", "s", "median time of making lists from the mask; NaN on the CPU, which reads the mask itself",
       &R::index_s},
      {"attend_s", "s", "median time of attention over the mask", &R::attend_s},
      {"total_s", "s", "median time of all phases", &R::total_s},
      {"total_lo_s", "s", "95 % bootstrap interval of total_s, low end", &R::total_lo_s},
      {"total_hi_s", "s", "95 % bootstrap interval of total_s, high end", &R::total_hi_s},
      {"baseline_kernel", "", "on backend cuda the dense kernel that dense_s times, the fastest that is built in",
       &R::baseline_kernel},
      {"dense_s", "s", "median time of the baseline's attention, sampled in turn with the method", &R::dense_s},
      {"speedup", "", "dense_s / total_s", &R::speedup},
      {"speedup_lo", "", "95 % bootstrap interval of speedup, low end", &R::speedup_lo},
      {"speedup_hi", "", "95 % bootstrap interval of speedup, high end", &R::speedup_hi},
      {"noise", "", "half width of the interval of total_s / total_s", &R::noise},
      {"converged", "", "1 if noise fell to measure.max_noise before measure.max_time", &R::converged},
      {"samples", "", "number of timed samples", &R::samples},
      {"timing_usable", "", "0 for --quick runs and cells without times", &R::timing_usable},
      {"sm_clock_mhz", "MHz", "median over the samples of the mean SM clock during a sample", &R::sm_clock_mhz},
  };
}

/// Where and when.
template <class R>
std::vector<Column<R>> provenance_columns() {
  return {
      {"device", "", "the GPU of backend cuda", &R::device},
      {"device_uuid", "", "which one of its kind", &R::device_uuid},
      {"truth_rows", "", "query rows that accuracy is measured on", &R::truth_rows},
      {"gpu_before", "", "nvidia-smi's readings before the cell was timed, JSON", &R::gpu_before},
      {"gpu_after", "", "the same after it", &R::gpu_after},
      {"bytes_peak", "B", "peak resident memory of the worker", &R::bytes_peak},
      {"device_bytes_peak", "B", "peak device memory of the cell's buffers, truth and copies for checks included",
       &R::device_bytes_peak},
      {"wall_s", "s", "wall time of the whole cell", &R::wall_s},
      {"host", "", "CPU that the cell was measured on", &R::host},
      {"node", "", "name of the machine that the cell was measured on", &R::node},
      {"simd", "", "instruction set of the CPU kernels", &R::simd},
      {"note", "", "what --note said when the cell was measured", &R::note},
      {"load", "", "load average of the last minute when the cell began, its own run's work included", &R::load},
      {"other_cores", "", "cores that other processes kept busy during the cell, mean", &R::other_cores},
      {"busy", "", "1 if they took them from the cell's threads: its times are not to be trusted", &R::busy},
      {"plugin", "", "file and hash of the plugin that the method came from; empty for a built-in one", &R::plugin},
      {"git_sha", "", "commit the program was built from, +dirty if changed", &R::git_sha},
      {"finished_utc", "", "when the cell ended", &R::finished_utc},
  };
}

/// The figures of a record that is an Accuracy; those of a head are fewer, and explained in /cells.
template <class R>
std::vector<Column<R>> figure_columns(bool of_head) {
  std::vector<Column<R>> columns;
  for (const Figure& f : figures())
    if (f.of_head || !of_head)
      columns.push_back({f.name, f.unit, of_head ? "as in /cells, of this head" : f.meaning, f.member, f.label});
  return columns;
}

/// The figures of a calibration over a part of the rows.
template <class R>
std::vector<Column<R>> calibrated_columns(const std::string& part, Accuracy R::*accuracy, const std::string& rows) {
  std::vector<Column<R>> columns;
  for (const Figure& f : figures())
    if (*f.calibrated)
      columns.push_back(
          {part + f.calibrated, f.unit, f.name + (" of " + rows), FigureOf<R>{accuracy, f.member}, f.label});
  return columns;
}

}  // namespace salebench
