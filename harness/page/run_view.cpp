#include "harness/page/run_view.h"

#include <algorithm>
#include <filesystem>

#include "core/hdf5.h"

namespace salebench {
namespace {

std::string name_of(const std::string& path) {
  const auto full = std::filesystem::absolute(path).lexically_normal();
  return full.has_filename() ? full.filename() : full.parent_path().filename();
}

/// The contents of a run.h5 are all there will be.
RunView collected(const std::string& path, const std::string& title) {
  RunView view;
  view.title = title;
  view.contents = read_run_contents(path);
  view.planned = view.contents.cells.size();
  return view;
}

}  // namespace

RunWatch::RunWatch(const std::string& path) : path_(path) {
  if (!std::filesystem::is_directory(path)) return;
  folder_ = std::make_unique<RunFolder>(path);
  plan_ = folder_->plan();
}

std::string RunWatch::title() const {
  return name_of(folder_ ? path_ : std::filesystem::absolute(path_).parent_path().string());
}

bool RunWatch::has_changed() const {
  const auto seen = [&](const std::string& id) { return state_.has(id); };
  return folder_ && !std::ranges::all_of(folder_->finished_ids(), seen);
}

RunView RunWatch::look() {
  try {
    if (!folder_) return collected(path_, title());
    if (folder_->is_collected()) return collected(folder_->run_path(), title());
  } catch (const h5::Error& error) {
    throw UsageError(error.what());
  }
  for (const std::string& id : folder_->finished_ids())
    if (!state_.has(id)) state_.read(*folder_, id);
  RunView view;
  view.title = title();
  view.planned = plan_.cells.size();
  view.contents.attributes = folder_->attributes();
  view.contents.attributes["config_yaml"] = plan_.sweep.text;
  for (const CellResult& result : state_.results(plan_)) {
    if (!state_.has(result.cell.id)) continue;
    view.contents.cells.push_back(result.cell);
    for (HeadRecord head : result.heads) {
      head.cell = result.cell.cell;
      view.contents.heads.push_back(head);
    }
  }
  return view;
}

}  // namespace salebench
