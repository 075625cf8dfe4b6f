#include "results/schema.h"

#include <fmt/format.h>

#include <type_traits>

#include "results/problem_columns.h"

namespace salebench {

ProblemInfo without_texts(ProblemInfo problem) {
  for (const auto text : {&ProblemInfo::model, &ProblemInfo::prompt, &ProblemInfo::source, &ProblemInfo::attributes})
    (problem.*text).clear();
  return problem;
}

template <>
const std::vector<Column<CellRecord>>& columns<CellRecord>() {
  using R = CellRecord;
  static const std::vector<Column<R>> table = joined<R>(
      {{
           {"cell", "", "number of the cell in this run, from 0", &R::cell},
           {"id", "", "method and hash of all that defines the cell; names its file", &R::id},
           {"method", "", "registered name", &R::method},
           {"method_version", "", "raised when a method's results change", &R::method_version},
           {"role", "", "method, baseline or oracle (reads the true attention first; no competitor)", &R::role},
           {"params", "", "all parameters, JSON", &R::params},
           {"settings", "", "the parameters that the config sets, for people", &R::settings},
           {"knob", "", "the parameter that trades density for error; empty for a method without one", &R::knob},
           {"dataset", "", "path of the capture", &R::dataset},
           {"problem", "", "id of the problem in the capture", follow<R, &R::problem, &ProblemInfo::id>},
           {"fingerprint", "", "hash of the values, shape and attention of the problem as used", &R::fingerprint},
           {"layer", "", "model layer; -1 unknown", follow<R, &R::problem, &ProblemInfo::layer>},
           {"repeat", "", "copies of the captured heads", &R::repeat},
       },
       shape_columns<R, &R::problem>(),
       attention_columns<R, &R::problem>(),
       {
           {"backend", "", "cpu or cuda", &R::backend},
           {"device", "", "the GPU of backend cuda", &R::device},
           {"threads", "", "CPU threads", &R::threads},
           {"round", "", "which of measure.rounds measurements of the same cell, from 0", &R::round},
           {"cache", "", "cold: inputs, or the L2 of a GPU, evicted before each sample; hot: not", &R::cache},
           {"truth_rows", "", "query rows that accuracy is measured on", &R::truth_rows},
           {"status", "", "ok, unsupported, incorrect, error, oom, timeout, crashed or interrupted", &R::status},
           {"reason", "", "why the status is not ok, or a remark on an ok cell", &R::reason},
           {"signal", "", "the signal that ended the worker; 0 for none", &R::signal},
           {"repro", "", "command that runs this cell again", &R::repro},
           {"density", "", "kept visible (query, key) pairs / visible pairs", &R::density},
           {"tile_density", "", "kept tiles / tiles that hold a visible pair", &R::tile_density},
           {"recall_mean", "", "true softmax probability on kept keys, mean over rows and heads", &R::recall_mean},
           {"recall_p05", "", "the same, 5th percentile of rows", &R::recall_p05},
           {"recall_min", "", "the same, worst row", &R::recall_min},
           {"rel_l2", "", "relative L2 error of the output over the problem", &R::rel_l2},
           {"rel_l2_worst", "", "relative L2 error of the worst head", &R::rel_l2_worst},
           {"mask_rel_l2", "",
            "relative L2 error of exact attention over the mask: rel_l2 without quantisation or correction",
            &R::mask_rel_l2},
           {"max_abs", "", "largest absolute error of the output", &R::max_abs},
           {"l1_per_token", "", "sum of absolute errors of a head / rows, mean over heads (SALE's calibration error)",
            &R::l1_per_token},
           {"cos_min", "", "smallest cosine between a computed and an exact output row", &R::cos_min},
           {"flops_executed", "FLOP", "4 head_dim per pair in kept tiles; selection not counted", &R::flops_executed},
           {"flops_dense", "FLOP", "4 head_dim per visible pair", &R::flops_dense},
           {"select_s", "s",
            "median time of selection, quantisation included; NaN where there is none to time, as with a mask from a "
            "file",
            &R::select_s},
           {"index_s", "s", "median time of making lists from the mask; NaN on the CPU, which reads the mask itself",
            &R::index_s},
           {"attend_s", "s", "median time of attention over the mask", &R::attend_s},
           {"total_s", "s", "median time of all phases", &R::total_s},
           {"total_lo_s", "s", "95 % bootstrap interval of total_s, low end", &R::total_lo_s},
           {"total_hi_s", "s", "95 % bootstrap interval of total_s, high end", &R::total_hi_s},
           {"baseline", "", "the method that dense_s times", &R::baseline},
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
           {"gpu_before", "", "nvidia-smi's readings before the cell was timed, JSON", &R::gpu_before},
           {"gpu_after", "", "the same after it", &R::gpu_after},
           {"bytes_peak", "B", "peak resident memory of the worker", &R::bytes_peak},
           {"device_bytes_peak", "B", "peak device memory of the cell's buffers, truth and copies for checks included",
            &R::device_bytes_peak},
           {"wall_s", "s", "wall time of the whole cell", &R::wall_s},
           {"host", "", "CPU that the cell was measured on", &R::host},
           {"simd", "", "instruction set of the CPU kernels", &R::simd},
           {"note", "", "what --note said when the cell was measured", &R::note},
           {"load", "", "load average of the last minute when the cell began, its own run's work included", &R::load},
           {"other_cores", "", "cores that other processes kept busy during the cell, mean", &R::other_cores},
           {"busy", "", "1 if they took them from the cell's threads: its times are not to be trusted", &R::busy},
           {"git_sha", "", "commit the program was built from, +dirty if changed", &R::git_sha},
           {"finished_utc", "", "when the cell ended", &R::finished_utc},
       }});
  return table;
}

template <>
const std::vector<Column<HeadRecord>>& columns<HeadRecord>() {
  using R = HeadRecord;
  static const std::vector<Column<R>> table = {
      {"cell", "", "the cell, as in /cells", &R::cell},
      {"head", "", "query head", &R::head},
      {"density", "", "as in /cells, of this head", &R::density},
      {"tile_density", "", "as in /cells, of this head", &R::tile_density},
      {"recall_mean", "", "as in /cells, of this head", &R::recall_mean},
      {"recall_p05", "", "as in /cells, of this head", &R::recall_p05},
      {"recall_min", "", "as in /cells, of this head", &R::recall_min},
      {"rel_l2", "", "as in /cells, of this head", &R::rel_l2},
      {"mask_rel_l2", "", "as in /cells, of this head", &R::mask_rel_l2},
      {"max_abs", "", "as in /cells, of this head", &R::max_abs},
      {"l1_per_token", "", "as in /cells, of this head", &R::l1_per_token},
      {"cos_min", "", "as in /cells, of this head", &R::cos_min},
  };
  return table;
}

template <>
const std::vector<Column<SampleRecord>>& columns<SampleRecord>() {
  using R = SampleRecord;
  static const std::vector<Column<R>> table = {
      {"cell", "", "the cell, as in /cells", &R::cell},
      {"sample", "", "number of the sample, in the order taken", &R::sample},
      {"phase", "", "select, index, attend, or dense for the baseline", &R::phase},
      {"seconds", "s", "time of the phase", &R::seconds},
      {"sm_clock_mhz", "MHz", "mean SM clock over the sample's phases; NaN where not known", &R::sm_clock_mhz},
  };
  return table;
}

template <>
const std::vector<Column<ProblemInfo>>& columns<ProblemInfo>() {
  static const std::vector<Column<ProblemInfo>> table = problem_columns<ProblemInfo>();
  return table;
}

template <>
const std::vector<Column<ProblemRecord>>& columns<ProblemRecord>() {
  using R = ProblemRecord;
  static const std::vector<Column<R>> table =
      joined<R>({{{"path", "", "the capture", &R::path}}, problem_columns<R, &R::info>()});
  return table;
}

template <>
const std::vector<Column<CalibrationRecord>>& columns<CalibrationRecord>() {
  using R = CalibrationRecord;
  static const std::vector<Column<R>> table = joined<R>(
      {{
           {"method", "", "registered name", &R::method},
           {"method_version", "", "raised when a method's results change", &R::method_version},
           {"role", "", "method, baseline or oracle", &R::role},
           {"settings", "", "the parameters that the config sets, for people", &R::settings},
           {"params", "", "all parameters but the calibrated one, JSON", &R::params},
           {"knob", "", "the parameter that was calibrated; empty for a method without one", &R::knob},
           {"metric", "", "what the target limits: rel_l2, l1_per_token or recall", &R::metric},
           {"target", "", "the limit", &R::target},
           {"scope", "", "head, layer or global: what has a value of its own", &R::scope},
           {"search", "", "bisection or paper", &R::search},
           {"fit", "", "rows fitted to: first_half, even_blocks or all", &R::fit},
           {"dataset", "", "path of the capture", &R::dataset},
           {"problem", "", "id of the problem in the capture", follow<R, &R::problem, &ProblemInfo::id>},
           {"fingerprint", "", "hash of the problem as used", &R::fingerprint},
           {"kv_len", "tokens", "keys", follow<R, &R::problem, &ProblemInfo::shape, &Shape::kv_len>},
       },
       attention_columns<R, &R::problem>(),
       {
           {"head", "", "query head; -1 for the problem as a whole", &R::head},
           {"value", "", "the value found; NaN for the whole problem where heads have values of their own", &R::value},
           {"status", "",
            "ok; unreachable (even the value that keeps most misses the target); fixed (no knob); not_reproduced (the "
            "last "
            "evaluation missed what the search had met); unsupported; error",
            &R::status},
           {"reason", "", "why the status is unsupported or error", &R::reason},
           {"evaluations", "", "values tried; the most of a head for the whole problem", &R::evaluations},
           {"fit_density", "", "kept visible pairs / visible pairs of the rows fitted to; NaN for a held-out data set",
            &R::fit_density},
           {"fit_recall", "", "mean recall of these rows", &R::fit_recall},
           {"fit_rel_l2", "", "relative L2 error of the output over these rows", &R::fit_rel_l2},
           {"fit_l1_per_token", "", "sum of absolute errors of a head / rows; mean over heads for the whole problem",
            &R::fit_l1_per_token},
           {"held_out_density", "", "the same of the rows not fitted to; NaN where there are none",
            &R::held_out_density},
           {"held_out_recall", "", "as fit_recall, of the rows not fitted to", &R::held_out_recall},
           {"held_out_rel_l2", "", "as fit_rel_l2, of the rows not fitted to", &R::held_out_rel_l2},
           {"held_out_l1_per_token", "", "as fit_l1_per_token, of the rows not fitted to", &R::held_out_l1_per_token},
           {"select_s", "s", "median time of selection over all evaluations, caches as they are; whole problem only",
            &R::select_s},
           {"attend_s", "s", "time of attention at the values found, once, caches as they are; whole problem only",
            &R::attend_s},
           {"threads", "", "CPU threads", &R::threads},
           {"file", "", "the values as methods read them, in the same folder; empty for none", &R::file},
       }});
  return table;
}

namespace {

template <class Value>
const char* type_name(const Value&) {
  return std::is_same_v<Value, std::string> ? "text" : std::is_integral_v<Value> ? "int64" : "float64";
}

template <class Record>
std::string table_markdown(const char* name, const char* what) {
  std::string text = fmt::format("### `{}`: {}\n\n| column | type | unit | meaning |\n|---|---|---|---|\n", name, what);
  for (const auto& column : columns<Record>())
    column.visit(Record(), [&](const auto& value) {
      text += fmt::format("| `{}` | {} | {} | {} |\n", column.name, type_name(value), column.unit, column.meaning);
    });
  return text + "\n";
}

}  // namespace

std::string schema_markdown() {
  return table_markdown<CellRecord>("/cells", "one row a cell") +
         table_markdown<HeadRecord>("/heads", "one row a query head of a cell") +
         table_markdown<SampleRecord>("/samples", "one row a timed phase of a sample") +
         table_markdown<ProblemRecord>("/problems", "one row a captured problem") +
         table_markdown<CalibrationRecord>("/calibration",
                                           "one row a head or problem, for each setting and target; in calibration.h5");
}

}  // namespace salebench
