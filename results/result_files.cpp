#include "results/result_files.h"

#include <algorithm>
#include <filesystem>

#include "core/hdf5.h"
#include "core/status.h"
#include "results/table_io.h"

namespace salebench {
namespace {

constexpr const char* kRunFormat = "salebench.results";
constexpr int kFormatVersion = 1;

/// Layout: dataset `bits` [heads, q_blocks, words], bit b of word w is key block 32 w + b.
void write_mask(const h5::Group& masks, const std::string& id, ConstMaskView mask) {
  const h5::Group group = masks.create_group(id);
  const BlockGrid& grid = mask.grid;
  const h5::Extents sizes = {hsize_t(mask.heads), hsize_t(grid.q_blocks()), hsize_t(grid.words())};
  group.write("bits", std::span(mask.bits, sizes[0] * sizes[1] * sizes[2]), sizes);
  group.set_dataset_attribute("bits", "block_q", grid.block.q);
  group.set_dataset_attribute("bits", "block_k", grid.block.k);
  group.set_dataset_attribute("bits", "k_blocks", grid.k_blocks());
  if (!grid.window) return;
  group.set_dataset_attribute("bits", "window_sink", grid.window->sink);
  group.set_dataset_attribute("bits", "window_local", grid.window->local);
  group.set_dataset_attribute("bits", "window_dense_rows", grid.window->dense_rows);
}

template <class Record>
void append(std::vector<Record> more, std::int64_t cell, std::vector<Record>& all) {
  for (Record& record : more) {
    record.cell = cell;
    all.push_back(std::move(record));
  }
}

}  // namespace

void write_cell(const std::string& path, const CellResult& result) {
  const h5::File file = h5::File::create();
  const h5::Group& root = file.root();
  root.set_attribute("format", "salebench.cell");
  root.set_attribute("format_version", std::int64_t(kFormatVersion));
  write_table<CellRecord>(root, "cells", {result.cell});
  write_table(root, "heads", result.heads);
  write_table(root, "samples", result.samples);
  if (result.mask) write_mask(root.create_group("masks"), result.cell.id, result.mask->view());
  file.save(path);
}

CellRecord read_cell(const std::string& path) {
  const h5::File file = h5::File::open(path);
  return read_table<CellRecord>(file.root(), "cells").at(0);
}

void write_run(const std::string& path, const RunAttributes& attributes, const std::vector<ProblemRecord>& problems,
               std::vector<CellRecord> cells, const std::string& cells_folder) {
  const h5::File file = h5::File::create();
  const h5::Group& root = file.root();
  root.set_attribute("format", kRunFormat);
  root.set_attribute("format_version", std::int64_t(kFormatVersion));
  for (const auto& [name, value] : attributes) root.set_attribute(name, value);
  std::vector<HeadRecord> heads;
  std::vector<SampleRecord> samples;
  std::optional<h5::Group> masks;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    cells[i].cell = std::int64_t(i);
    const std::string cell_path = cells_folder + "/" + cells[i].id + ".h5";
    if (cells[i].status == status_name(Status::interrupted) || !std::filesystem::exists(cell_path)) continue;
    const h5::File cell_file = h5::File::open(cell_path);
    const h5::Group& from = cell_file.root();
    append(read_table<HeadRecord>(from, "heads"), cells[i].cell, heads);
    append(read_table<SampleRecord>(from, "samples"), cells[i].cell, samples);
    if (!from.has("masks")) continue;
    if (!masks) masks.emplace(root.create_group("masks"));
    masks->copy_from(from.open_group("masks"), cells[i].id, cells[i].id);
  }
  write_table(root, "cells", cells);
  write_table(root, "heads", heads);
  write_table(root, "samples", samples);
  write_table(root, "problems", problems);
  file.save(path);
}

void write_calibration_table(const std::string& path, const RunAttributes& attributes,
                             const std::vector<CalibrationRecord>& records) {
  const h5::File file = h5::File::create();
  const h5::Group& root = file.root();
  root.set_attribute("format", "salebench.calibration");
  root.set_attribute("format_version", std::int64_t(kFormatVersion));
  for (const auto& [name, value] : attributes) root.set_attribute(name, value);
  write_table(root, "calibration", records);
  file.save(path);
}

std::vector<CellRecord> read_run(const std::string& path) {
  const h5::File file = h5::File::open(path);
  if (file.root().string_attribute("format") != kRunFormat)
    throw h5::Error(path + " is not a result file of salebench");
  return read_table<CellRecord>(file.root(), "cells");
}

}  // namespace salebench
