// Which cells compete with each other, what people call them, and the figures that a comparison uses. load.py says the
// same of a run.h5; tests/cases/same_figures.json holds both.
#pragma once

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "results/schema.h"

namespace salebench {

/// The shortest end of each path, in whole names, that no other has: llama/capture.h5. Never an absolute path.
std::map<std::string, std::string> short_paths(const std::set<std::string>& paths);

/// The settings of each record, in order, with absolute paths shortened to what tells them apart.
template <class Record>
std::vector<std::string> settings_labels(const std::vector<Record>& records);

/// The problem of each record, in order, different for different places of one length. It names the data set, and how a
/// cell was measured, where the records differ in it; where all is equal but the values, their fingerprint.
template <class Record>
std::vector<std::string> place_labels(const std::vector<Record>& records);

/// What people call the method of a cell, with its settings: the config's label, or its name.
inline const std::string& display_name(const CellSettings& cell) {
  return cell.label.empty() ? cell.method : cell.label;
}

/// How each record was measured, where the records differ in it; empty where they don't.
std::vector<std::string> setup_labels(const std::vector<CellRecord>& records);

/// The captures of the records by path, for people: the config's labels, or short paths.
std::map<std::string, std::string> dataset_labels(const std::vector<CellRecord>& records);

/// What cells of one place agree in: their problem, and how they were measured.
struct PlaceKey {
  std::vector<std::string> problem;  ///< values, id and length
  std::vector<std::string> setup;    ///< copies, backend, and the rest; "" for what a cell that failed doesn't know
  bool operator<(const PlaceKey& other) const {
    return std::tie(problem, setup) < std::tie(other.problem, other.setup);
  }
};
PlaceKey place_of(const CellRecord& record);

/// A setting at a place.
struct TimedSetting {
  std::size_t first = 0;         ///< of the records that it comes from, the place in their list
  int rounds = 0;                ///< how many they are
  CellRecord record;             ///< the first, with the medians of the times; converged if all are
  std::vector<double> speedups;  ///< of the rounds
};

/// Whether a cell was left out, as unsupported or not run yet, so that there is nothing to say of it but why.
bool was_left_out(const CellRecord& record);

/// Whether a record's times mean something.
bool has_usable_times(const CellRecord& record);

/// Whether usable times say little: measured while others took the cores, or not converged.
bool is_in_doubt(const CellRecord& record);

/// Whether a method's times leave out its selection, as a mask was made on another backend than the cell's.
bool has_untimed_selection(const CellRecord& record);

/// Whether attention over the mask is exact: recall, which is of the mask, says nothing of quantisation.
bool attends_exactly(const CellRecord& record);

/// The settings with usable times, in order. Rounds of the same cell become one.
std::vector<TimedSetting> timed_settings(const std::vector<CellRecord>& records);

/// The fastest setting of each method at each place with at least this mean recall, by label, length and time; of those
/// that don't attend exactly, one apart. Oracles and settings whose selection was not timed take no part: their times
/// mean nothing.
std::vector<TimedSetting> fastest_at_recall(const std::vector<CellRecord>& records, double recall);

}  // namespace salebench
