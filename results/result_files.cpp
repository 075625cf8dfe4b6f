#include "results/result_files.h"

#include <fmt/format.h>

#include "core/hdf5.h"
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
void append(const std::vector<Record>& more, std::int64_t cell, std::vector<Record>& all) {
  for (const Record& record : more) {
    all.push_back(record);
    all.back().cell = cell;
  }
}

h5::File open_run(const std::string& path) {
  h5::File file = h5::File::open(path);
  if (file.root().string_attribute("format") != kRunFormat)
    throw h5::Error(path + " is not a result file of salebench");
  if (const double version = file.root().number_attribute("format_version", 0); version > kFormatVersion)
    throw h5::Error(fmt::format("{} has format version {}, newer than {}", path, version, kFormatVersion));
  return file;
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

CellResult read_cell(const std::string& path) {
  const h5::File file = h5::File::open(path);
  const h5::Group& root = file.root();
  CellResult result;
  result.cell = read_table<CellRecord>(root, "cells").at(0);
  if (root.has("heads")) result.heads = read_table<HeadRecord>(root, "heads");
  if (root.has("samples")) result.samples = read_table<SampleRecord>(root, "samples");
  result.has_stored_mask = root.has("masks");
  return result;
}

void write_run(const std::string& path, const RunAttributes& attributes, const std::vector<ProblemRecord>& problems,
               const std::vector<CellResult>& results, const std::string& cells_folder) {
  const h5::File file = h5::File::create();
  const h5::Group& root = file.root();
  root.set_attribute("format", kRunFormat);
  root.set_attribute("format_version", std::int64_t(kFormatVersion));
  for (const auto& [name, value] : attributes) root.set_attribute(name, value);
  std::vector<CellRecord> cells;
  std::vector<HeadRecord> heads;
  std::vector<SampleRecord> samples;
  std::optional<h5::Group> masks;
  for (const CellResult& result : results) {
    const auto number = std::int64_t(cells.size());
    cells.push_back(result.cell);
    cells.back().cell = number;
    append(result.heads, number, heads);
    append(result.samples, number, samples);
    if (!result.has_stored_mask) continue;
    if (!masks) masks.emplace(root.create_group("masks"));
    const std::string& id = result.cell.id;
    const h5::File cell_file = h5::File::open(fmt::format("{}/{}.h5", cells_folder, id));
    masks->copy_from(cell_file.root().open_group("masks"), id, id);
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

std::vector<CellResult> read_run_results(const std::string& path) {
  const h5::File file = open_run(path);
  const h5::Group& root = file.root();
  std::optional<h5::Group> masks;
  if (root.has("masks")) masks.emplace(root.open_group("masks"));
  std::vector<CellResult> results;
  for (CellRecord& cell : read_table<CellRecord>(root, "cells")) {
    results.emplace_back().cell = std::move(cell);
    results.back().has_stored_mask = masks && masks->has(results.back().cell.id);
  }
  const auto of = [&](std::int64_t cell) -> CellResult& {
    if (cell < 0 || cell >= std::ssize(results)) throw h5::Error(fmt::format("{} has no cell {}", path, cell));
    return results[std::size_t(cell)];
  };
  for (const HeadRecord& head : read_table<HeadRecord>(root, "heads")) of(head.cell).heads.push_back(head);
  for (const SampleRecord& sample : read_table<SampleRecord>(root, "samples"))
    of(sample.cell).samples.push_back(sample);
  return results;
}

std::vector<CellRecord> read_run(const std::string& path) {
  return read_table<CellRecord>(open_run(path).root(), "cells");
}

RunContents read_run_contents(const std::string& path) {
  const h5::File file = open_run(path);
  const h5::Group& root = file.root();
  RunContents contents;
  for (const std::string& name : root.attributes())
    if (name != "format" && name != "format_version") contents.attributes[name] = root.string_attribute(name);
  contents.cells = read_table<CellRecord>(root, "cells");
  contents.heads = read_table<HeadRecord>(root, "heads");
  return contents;
}

}  // namespace salebench
