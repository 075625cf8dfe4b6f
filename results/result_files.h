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
  std::optional<BlockMask> mask;  ///< stored where the config says save: [masks]
};

/// Writes a cell's file atomically. Throws WriteError.
void write_cell(const std::string& path, const CellResult& result);

/// The record of a cell's file. Throws h5::Error for a damaged file.
CellRecord read_cell(const std::string& path);

/// Text attributes of run.h5: run, created_utc, argv, config_yaml, note, provenance (JSON).
using RunAttributes = std::map<std::string, std::string>;

/// Writes run.h5 from the problems and the cell records in order; a finished cell brings the tables and mask of its
/// file in `cells_folder` along, an interrupted one stands alone. Throws WriteError.
void write_run(const std::string& path, const RunAttributes& attributes, const std::vector<ProblemRecord>& problems,
               std::vector<CellRecord> cells, const std::string& cells_folder);

/// The cells of a run.h5. Throws h5::Error.
std::vector<CellRecord> read_run(const std::string& path);

/// Writes calibration.h5: the table /calibration and text attributes. Throws WriteError.
void write_calibration_table(const std::string& path, const RunAttributes& attributes,
                             const std::vector<CalibrationRecord>& records);

}  // namespace salebench
