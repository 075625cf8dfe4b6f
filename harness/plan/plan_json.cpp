// plan.json: the plan of a run, for its workers, `--resume` and `collect`.
#include <fmt/format.h>

#include <map>

#include "core/json_text.h"
#include "harness/plan/plan.h"
#include "harness/support/record_json.h"
#include "results/cell_columns.h"

namespace salebench {

namespace {

constexpr int kVersion = 4, kOldestRead = 3;

/// The inverse of json_of(). What an older plan does not say stays as it is.
template <class Record>
Record record_of(const nlohmann::json& json, bool is_older = false) {
  Record record;
  for (const auto& column : columns<Record>())
    if (!is_older || json.contains(column.name))
      column.visit(record, [&](auto& value) { json.at(column.name).get_to(value); });
  return record;
}

/// Where a problem stands in the list of them.
using Places = std::map<std::pair<std::string, std::string>, std::size_t>;

}  // namespace

template <>
const std::vector<Column<PlannedCell>>& columns<PlannedCell>() {
  using R = PlannedCell;
  static const std::vector<Column<R>> table =
      joined<R>({settings_columns<R>(),
                 {
                     {"length", "tokens", "prefix of the capture; 0 for the whole", &R::length},
                     {"dataset_name", "", "what tells its path from others", &R::dataset_name},
                     {"truth_fingerprint", "", "fingerprint with one copy of the heads", &R::truth_fingerprint},
                     {"unsupported", "", "why the method can't run the problem", &R::unsupported},
                     {"doubt", "", "how the capture contradicts itself", &R::doubt},
                     {"order", "", "its place in the whole sweep", &R::order},
                     {"waits_for", "", "why the machine can't run the cell", &R::waits_for},
                 }});
  return table;
}

template <>
const std::vector<Column<Plan>>& columns<Plan>() {
  using R = Plan;
  using S = SweepConfig;
  using M = MeasureConfig;
  static const std::vector<Column<R>> table = {
      {"run", "", "name of the run", follow<R, &R::sweep, &S::run>},
      {"config_path", "", "the config", follow<R, &R::sweep, &S::path>},
      {"config", "", "its text, with overrides", follow<R, &R::sweep, &S::text>},
      {"cell_timeout", "s", "after which a cell is stopped", follow<R, &R::sweep, &S::cell_timeout>},
      {"save_masks", "", "whether masks are stored", follow<R, &R::sweep, &S::save_masks>},
      {"truth_rows", "", "rows that accuracy is measured on; 0 for all", follow<R, &R::sweep, &S::truth_rows>},
      {"threads", "", "CPU threads; 0 for all cores", follow<R, &R::sweep, &S::threads>},
      {"seed", "", "of what methods draw", follow<R, &R::sweep, &S::seed>},
      {"cache", "", "cold or hot", follow<R, &R::sweep, &S::measure, &M::cache>},
      {"warmup", "s", "of each cell", follow<R, &R::sweep, &S::measure, &M::warmup>},
      {"min_time", "s", "of each cell", follow<R, &R::sweep, &S::measure, &M::min_time>},
      {"max_time", "s", "of each cell", follow<R, &R::sweep, &S::measure, &M::max_time>},
      {"max_noise", "", "that ends a cell's timing", follow<R, &R::sweep, &S::measure, &M::max_noise>},
      {"min_samples", "", "of each cell", follow<R, &R::sweep, &S::measure, &M::min_samples>},
      {"pause", "s", "before each sample", follow<R, &R::sweep, &S::measure, &M::pause>},
      {"rounds", "", "measurements of each cell", follow<R, &R::sweep, &S::measure, &M::rounds>},
      {"baseline", "", "method timed beside each cell", follow<R, &R::sweep, &S::measure, &M::baseline>},
      {"quick", "", "every cell once", follow<R, &R::quick>},
      {"note", "", "what --note said", &R::note},
      {"folder", "", "of the run", &R::folder},
      {"shard", "", "which part of the sweep it is", &R::shard},
      {"whole", "", "cells of all parts", &R::whole},
  };
  return table;
}

std::string plan_to_json(const Plan& plan) {
  const std::vector<ProblemRecord> problems = plan.problems();
  nlohmann::json json = json_of(plan);
  json["plan_version"] = kVersion;
  json["gpus"] = plan.gpus;
  json["plugins"] = plan.plugins;
  Places places;
  for (const ProblemRecord& problem : problems) {
    places[{problem.path, problem.info.id}] = json["problems"].size();
    json["problems"].push_back(json_of(problem));
  }
  for (const PlannedCell& cell : plan.cells) {
    json["cells"].push_back(json_of(cell));
    json["cells"].back()["problem"] = places.at({cell.dataset, cell.problem->id});
  }
  return json_text(json, 1) + "\n";
}

Plan plan_from_json(const std::string& text) {
  try {
    const auto json = nlohmann::json::parse(text);
    const int version = json.at("plan_version");
    const bool is_older = version < kVersion;
    if (version < kOldestRead || version > kVersion)
      throw UsageError(
          fmt::format("plan.json has version {}, this program reads {}: `run --resume` with the same config keeps "
                      "the cells and writes it anew",
                      version, kVersion));
    auto plan = record_of<Plan>(json, is_older);
    plan.gpus = json.value("gpus", plan.gpus);
    plan.plugins = json.value("plugins", plan.plugins);
    std::vector<std::shared_ptr<const ProblemInfo>> problems;
    for (const auto& problem : json.at("problems"))
      problems.push_back(std::make_shared<const ProblemInfo>(record_of<ProblemRecord>(problem).info));
    for (const auto& stored : json.at("cells")) {
      plan.cells.push_back(record_of<PlannedCell>(stored, is_older));
      plan.cells.back().problem = problems.at(stored.at("problem").get<std::size_t>());
    }
    return plan;
  } catch (const nlohmann::json::exception& error) {
    throw UsageError(fmt::format("plan.json is damaged: {}", error.what()));
  }
}

}  // namespace salebench
