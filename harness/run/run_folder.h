// The folder of a run: config.yaml, plan.json, cells/<id>.h5, logs/<id>.log, run.h5, and a lock while a run works in
// it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "harness/plan/plan.h"
#include "results/result_files.h"

namespace salebench {

class RunFolder {
 public:
  explicit RunFolder(std::string path) : path_(std::move(path)) {}
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  /// Whether there is anything at the path; an empty folder counts as nothing.
  bool exists() const;
  /// Makes the folders and takes the lock. Throws WriteError, or UsageError if another run holds the lock.
  void open_for_writing();
  void write_plan(const Plan& plan, const RunAttributes& attributes) const;

  Plan plan() const;  ///< throws UsageError if this is no run folder
  /// The plugins that its plan was made with; none if there is no plan that this program reads.
  std::vector<std::string> plugins() const;
  RunAttributes attributes() const;

  const std::string& path() const { return path_; }
  std::string cells_folder() const { return path_ + "/cells"; }
  std::string cell_path(const std::string& id) const { return path_ + "/cells/" + id + ".h5"; }
  std::string log_path(const std::string& id) const { return path_ + "/logs/" + id + ".log"; }
  std::string run_path() const { return path_ + "/run.h5"; }
  /// Whether run.h5 was written after the plan and the last cell, and so says what they do.
  bool is_collected() const;

  /// Size and time of the last change of a file; empty if there is none.
  static std::string stamp_of(const std::string& path);
  /// Keeps the stamps, by id, of the cells' files that run.h5 was just made of.
  void write_stamps(const std::map<std::string, std::string>& stamps) const;
  /// Those stamps, if run.h5 is still that file; else none. What has its stamp need not be read again: reading the file
  /// of a cell takes a hundred times as long as finding it in run.h5.
  std::map<std::string, std::string> stamps() const;

  /// The ids of all cells that have a file, sorted, whatever the plan holds.
  std::vector<std::string> finished_ids() const;

 private:
  std::string path_;
  int lock_ = -1;
};

}  // namespace salebench
