#include "harness/run/run_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/atomic_file.h"
#include "core/json_text.h"

namespace salebench {
namespace {

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw UsageError(fmt::format("cannot open {}: is this the output folder of `salebench run`?", path));
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_text(const std::string& path, const std::string& text) {
  write_file_atomically(path, text.data(), text.size());
}

}  // namespace

RunFolder::~RunFolder() {
  if (lock_ >= 0) ::close(lock_);
}

bool RunFolder::exists() const {
  std::error_code unknown;  // such as a name that is too long, which open_for_writing() complains of
  return std::filesystem::exists(path_, unknown) && !std::filesystem::is_empty(path_, unknown);
}

void RunFolder::open_for_writing() {
  std::error_code error;
  for (const char* name : {"/cells", "/logs"}) {
    std::filesystem::create_directories(path_ + name, error);
    if (error) throw WriteError(fmt::format("cannot make {}{}: {}", path_, name, error.message()));
  }
  const std::string lock_path = path_ + "/.lock";
  lock_ = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ < 0) throw WriteError(fmt::format("cannot write {}: {}", lock_path, std::strerror(errno)));
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0)
    throw UsageError(fmt::format("another run is working in {}; wait for it, or choose another folder with -o", path_));
}

void RunFolder::write_plan(const Plan& plan, const RunAttributes& attributes) const {
  write_text(path_ + "/config.yaml", plan.sweep.text + "\n");
  write_text(path_ + "/run.json", json_text(attributes, 1) + "\n");
  write_text(path_ + "/plan.json", plan_to_json(plan));
}

Plan RunFolder::plan() const {
  return plan_from_json(read_text(path_ + "/plan.json"));
}

std::vector<std::string> RunFolder::plugins() const {
  try {
    return plan().plugins;
  } catch (const UsageError&) {
    return {};  // of another version or damaged, and about to be written anew
  }
}

RunAttributes RunFolder::attributes() const {
  try {
    return nlohmann::json::parse(read_text(path_ + "/run.json")).get<RunAttributes>();
  } catch (const nlohmann::json::exception& error) {
    throw UsageError(fmt::format("{}/run.json is damaged: {}", path_, error.what()));
  }
}

bool RunFolder::is_collected() const {
  namespace fs = std::filesystem;
  std::error_code none;
  const auto collected = fs::last_write_time(run_path(), none);
  if (none) return false;
  const auto is_older = [&](const fs::path& path) { return fs::last_write_time(path, none) < collected && !none; };
  if (!is_older(cells_folder()) || !is_older(path_ + "/plan.json")) return false;
  for (const fs::directory_entry& cell : fs::directory_iterator(cells_folder(), none))
    if (!is_older(cell.path())) return false;
  return !none;
}

std::string RunFolder::stamp_of(const std::string& path) {
  std::error_code none;
  const auto size = std::filesystem::file_size(path, none);
  if (none) return {};
  const auto changed = std::filesystem::last_write_time(path, none);
  return none ? "" : fmt::format("{} {}", size, changed.time_since_epoch().count());
}

void RunFolder::write_stamps(const std::map<std::string, std::string>& stamps) const {
  write_text(path_ + "/collected.json", json_text({{"run.h5", stamp_of(run_path())}, {"cells", stamps}}) + "\n");
}

std::map<std::string, std::string> RunFolder::stamps() const {
  std::ifstream file(path_ + "/collected.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  try {
    if (!json.is_object() || json.at("run.h5") != stamp_of(run_path())) return {};
    return json.at("cells").get<std::map<std::string, std::string>>();
  } catch (const nlohmann::json::exception&) {
    return {};  // damaged from outside: everything is read again
  }
}

std::vector<std::string> RunFolder::finished_ids() const {
  std::vector<std::string> ids;
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator(cells_folder(), missing))
    if (entry.path().extension() == ".h5") ids.push_back(entry.path().stem());
  std::ranges::sort(ids);
  return ids;
}

}  // namespace salebench
