// Records through files and back, and the schema's documentation.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "core/atomic_file.h"
#include "core/hdf5.h"
#include "results/result_files.h"
#include "results/table_io.h"
#include "tests/results/columns.h"

namespace salebench {
namespace {

namespace fs = std::filesystem;

class Results : public testing::Test {
 protected:
  Results() : folder_(fs::temp_directory_path() / ("salebench_results_test_" + std::to_string(::getpid()))) {
    fs::create_directories(folder_ / "cells");
  }
  ~Results() override { fs::remove_all(folder_); }
  fs::path folder_;
};

CellResult example(const std::string& id) {
  CellResult r;
  r.cell.id = id, r.cell.method = "sale", r.cell.status = "ok", r.cell.reason = "päper, \"quoted\"\n";
  r.cell.problem.shape.q_len = 100, r.cell.recall_mean = 0.99, r.cell.dataset = "a.h5";
  r.heads.resize(2);
  r.heads[1].head = 1, r.heads[1].density = 0.5;
  r.samples = {{.phase = "select", .seconds = 0.25}, {.phase = "attend", .seconds = 0.5}};
  r.mask.emplace(BlockGrid{{64, 32}, 100, 100, true, Window{1, 2, 3}}, 1);
  r.mask->view().keep(0, 1, 3);
  return r;
}

TEST_F(Results, EachColumnOfACellComesBackFromItsFile) {
  for (const auto& changed : columns<CellRecord>()) {
    CellResult written = example("x");
    written.cell = with_changed(changed, written.cell);
    ASSERT_NE(text_of(changed, written.cell), text_of(changed, example("x").cell)) << changed.name;
    write_cell(folder_ / "cells/x.h5", written);
    const CellRecord read = read_cell(folder_ / "cells/x.h5").cell;
    for (const auto& column : columns<CellRecord>())
      EXPECT_EQ(text_of(column, read), text_of(column, written.cell))
          << column.name << ", with a changed " << changed.name;
  }
}

template <class Record>
class Tables : public testing::Test {};
using Records = testing::Types<CellRecord, HeadRecord, SampleRecord, ProblemRecord, CalibrationRecord>;
TYPED_TEST_SUITE(Tables, Records);

TYPED_TEST(Tables, GiveEachColumnBack) {
  for (const auto& changed : columns<TypeParam>()) {
    const TypeParam written = with_changed(changed, TypeParam());
    ASSERT_NE(text_of(changed, written), text_of(changed, TypeParam())) << changed.name;
    const h5::File file = h5::File::create();
    write_table<TypeParam>(file.root(), "table", {TypeParam(), written});
    const auto read = read_table<TypeParam>(file.root(), "table");
    ASSERT_EQ(read.size(), 2u);
    for (const auto& column : columns<TypeParam>()) {
      EXPECT_EQ(text_of(column, read[0]), text_of(column, TypeParam())) << column.name;
      EXPECT_EQ(text_of(column, read[1]), text_of(column, written)) << column.name << ", " << changed.name;
    }
  }
}

TEST_F(Results, EachColumnOfAProblemComesBackFromItsRun) {
  for (const auto& changed : columns<ProblemRecord>()) {
    const ProblemRecord written = with_changed(changed, {"a.h5", {}});
    write_run(folder_ / "run.h5", {}, {written}, {}, folder_ / "cells");
    const auto read = read_table<ProblemRecord>(h5::File::open(folder_ / "run.h5").root(), "problems");
    ASSERT_EQ(read.size(), 1u);
    for (const auto& column : columns<ProblemRecord>())
      EXPECT_EQ(text_of(column, read[0]), text_of(column, written))
          << column.name << ", with a changed " << changed.name;
  }
}

TEST_F(Results, RunsCollectCellsInPlanOrder) {
  write_cell(folder_ / "cells/x.h5", example("x"));
  write_cell(folder_ / "cells/y.h5", example("y"));
  CellResult missing;
  missing.cell.id = "z", missing.cell.status = "interrupted";
  ProblemRecord problem{"a.h5", {}};
  problem.info.sliding_window = 512;
  write_run(folder_ / "run.h5", {{"note", "hello"}}, {problem},
            {read_cell(folder_ / "cells/y.h5"), missing, read_cell(folder_ / "cells/x.h5")}, folder_ / "cells");
  const auto cells = read_run(folder_ / "run.h5");
  ASSERT_EQ(cells.size(), 3u);
  EXPECT_EQ(cells[1].id, "z");
  EXPECT_EQ(cells[2].cell, 2);
  const h5::File file = h5::File::open(folder_ / "run.h5");
  EXPECT_EQ(file.root().string_attribute("note"), "hello");
  const auto heads = read_table<HeadRecord>(file.root(), "heads");
  ASSERT_EQ(heads.size(), 4u);
  EXPECT_EQ(heads[3].cell, 2);
  EXPECT_EQ(heads[3].density, 0.5);
  EXPECT_EQ(read_table<SampleRecord>(file.root(), "samples").size(), 4u);
  const auto problems = read_table<ProblemRecord>(file.root(), "problems");
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].info.sliding_window, 512);
  EXPECT_EQ(file.root().open_group("masks").open_group("x").read_uint32("bits"), (std::vector<std::uint32_t>{0, 8}));
}

TEST_F(Results, AnAbsentColumnKeepsItsDefault) {
  write_cell(folder_ / "cells/x.h5", example("x"));
  const h5::File old = h5::File::create();
  {
    const h5::File file = h5::File::open(folder_ / "cells/x.h5");
    const h5::Group cells = old.root().create_group("cells");
    for (const std::string& name : file.root().open_group("cells").children())
      if (name != "recall_mean") cells.copy_from(file.root().open_group("cells"), name, name);
  }
  old.save(folder_ / "old.h5");
  const CellRecord read = read_cell(folder_ / "old.h5").cell;
  EXPECT_EQ(read.method, "sale");
  EXPECT_TRUE(read.recall_mean != read.recall_mean);
}

TEST_F(Results, AnUnwritablePathSaysWhy) {
  std::ofstream(folder_ / "file") << "x";
  try {
    write_cell(folder_ / "file/x.h5", example("x"));
    FAIL();
  } catch (const WriteError& error) {
    EXPECT_NE(std::string(error.what()).find("Not a directory"), std::string::npos) << error.what();
  }
}

template <class Record>
void check_names() {
  std::set<std::string> names;
  for (const auto& column : columns<Record>()) {
    EXPECT_TRUE(names.insert(column.name).second) << column.name;
    EXPECT_NE(column.meaning, "") << column.name;
  }
}

TEST(Schema, NamesAreUniqueAndExplained) {
  check_names<CellRecord>();
  check_names<CalibrationRecord>();
}

TEST(Schema, EachFigureIsAColumnOfCells) {
  for (const Figure& figure : figures()) {
    CellRecord record;
    record.*figure.member = 0.375;
    int holding = 0;
    for (const auto& column : columns<CellRecord>()) holding += text_of(column, record) == "0.375";
    EXPECT_EQ(holding, 1) << figure.name;
    EXPECT_TRUE(*figure.calibrated || !figure.target) << figure.name << " is a target without a name";
  }
}

TEST(Schema, TheReadmeHoldsTheGeneratedTables) {
  std::ifstream file(SALEBENCH_SOURCE_DIR "/results/README.md");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  EXPECT_NE(text.find(schema_markdown()), std::string::npos)
      << "scripts/pages PROGRAM writes it into results/README.md";
}

}  // namespace
}  // namespace salebench
