// The files of a run: one a cell, written when it ends, and run.h5, collected from them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/block_mask.h"
#include "results/schema.h"

namespace salebench {

/// All that a finished cell leaves behind.
struct CellResult {
  CellRecord cell;
  std::vector<HeadRecord> heads;
  std::vector<SampleRecord> samples;
  std::optional<BlockMask> mask;  ///< to be stored, where the config says save: [masks]
  bool has_stored_mask = false;   ///< whether the file that this was read from has one, which stays there
};

/// Writes a cell's file atomically. Throws WriteError.
void write_cell(const std::string& path, const CellResult& result);

/// What a cell's file holds, but for the mask. Throws h5::Error for a damaged file.
CellResult read_cell(const std::string& path);

/// Text attributes of run.h5: run, created_utc, argv, config_yaml, note, provenance (JSON).
using RunAttributes = std::map<std::string, std::string>;

/// Writes run.h5 from the problems and the results of cells in order, with stored masks from the files in
/// `cells_folder`. Throws WriteError.
void write_run(const std::string& path, const RunAttributes& attributes, const std::vector<ProblemRecord>& problems,
               const std::vector<CellResult>& results, const std::string& cells_folder);

/// The results of a run.h5, but for the masks themselves. Throws h5::Error.
std::vector<CellResult> read_run_results(const std::string& path);

/// The cells of a run.h5. Throws h5::Error.
std::vector<CellRecord> read_run(const std::string& path);

/// A run.h5 without samples, problems and masks.
struct RunContents {
  RunAttributes attributes;
  std::vector<CellRecord> cells;
  std::vector<HeadRecord> heads;
};

/// Throws h5::Error.
RunContents read_run_contents(const std::string& path);

/// Writes calibration.h5: the table /calibration and text attributes. Throws WriteError.
void write_calibration_table(const std::string& path, const RunAttributes& attributes,
                             const std::vector<CalibrationRecord>& records);

}  // namespace salebench
