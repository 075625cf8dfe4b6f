#include "harness/run/cell_worker.h"

#include <fmt/format.h>

#include "core/atomic_file.h"
#include "core/status.h"
#include "harness/cell/cell.h"
#include "harness/support/provenance.h"

namespace salebench {
namespace {

/// Exit codes of a worker that the parent understands; any other means it broke.
constexpr int kCellWritten = 0;
constexpr int kCellNotWritten = kCannotWrite;

/// Why a worker could not write its cell, from its log.
std::string why_not_written(const std::string& log, const std::string& path) {
  std::string why = log_tail(log);
  if (constexpr std::string_view kPrefix = "salebench: error: "; why.starts_with(kPrefix)) why.erase(0, kPrefix.size());
  if (why.empty()) {  // a full disk has no room for the log either: writing it from here says so
    why = fmt::format("a worker cannot write {}", path);
    write_file_atomically(log, why.data(), why.size());
  }
  return why;
}

}  // namespace

CellWorker::CellWorker(const Plan& plan, const PlannedCell& cell, const RunFolder& folder, const std::string& gpu)
    : plan_(&plan), cell_(&cell), folder_(&folder), log_(folder.log_path(cell.id)) {
  Environment environment;
  if (!gpu.empty()) environment["CUDA_VISIBLE_DEVICES"] = gpu;
  worker_ = std::make_unique<Worker>(std::vector<std::string>{"cell", folder.path(), cell.id}, log_,
                                     plan.sweep.cell_timeout, environment);
}

bool CellWorker::has_ended() {
  if (!end_) end_ = worker_->poll();
  return end_.has_value();
}

CellResult CellWorker::failed(Status status, const std::string& reason, int signal) const {
  CellResult result;
  result.cell = planned_record(*plan_, *cell_);
  result.cell.status = status_name(status);
  result.cell.reason = reason;
  result.cell.signal = signal;
  result.cell.finished_utc = utc_now();
  return result;
}

CellResult CellWorker::timed_out() const {
  const double other_cores = watch_.other_cores();
  const bool busy = is_busy(other_cores, cell_->threads);
  CellResult result =
      failed(Status::timeout, fmt::format("not done after limits.cell_timeout = {} s{}", plan_->sweep.cell_timeout,
                                          busy ? fmt::format(" on a busy machine: {}", load_text(other_cores)) : ""));
  result.cell.other_cores = other_cores, result.cell.busy = busy;
  return result;
}

std::optional<CellResult> CellWorker::result() {
  const std::string path = folder_->cell_path(cell_->id);
  CellResult result;
  switch (end_->how) {
    case WorkerEnd::How::interrupted:
      return std::nullopt;
    case WorkerEnd::How::timed_out:
      result = timed_out();
      break;
    case WorkerEnd::How::signalled: {
      const std::string tail = log_tail(log_);
      result = failed(Status::crashed,
                      fmt::format("killed by {}{}{}", signal_text(end_->code), tail.empty() ? "" : "; log: ", tail),
                      end_->code);
      break;
    }
    case WorkerEnd::How::exited:
      if (end_->code == kCellWritten) return read_cell(path);
      if (end_->code == kCellNotWritten) throw WriteError(why_not_written(log_, path));
      result = failed(Status::crashed, fmt::format("worker ended with code {}; log: {}", end_->code, log_tail(log_)));
      break;
  }
  write_cell(path, result);
  return result;
}

}  // namespace salebench
