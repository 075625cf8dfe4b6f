// plan.json: the plan of a run, for its workers, `--resume` and `collect`.
#include <fmt/format.h>

#include <map>

#include "core/json_text.h"
#include "harness/plan.h"

namespace salebench {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Shape, q_heads, kv_heads, q_len, kv_len, head_dim)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ProblemView, length, repeat)

/// A problem by its columns.
void to_json(nlohmann::json& json, const ProblemRecord& record) {
  for (const auto& column : columns<ProblemRecord>())
    column.visit(record, [&](const auto& value) { json[column.name] = value; });
}
void from_json(const nlohmann::json& json, ProblemRecord& record) {
  for (const auto& column : columns<ProblemRecord>())
    column.visit(record, [&](auto& value) { json.at(column.name).get_to(value); });
}

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(MeasureConfig, cache, warmup, min_time, max_time, max_noise, min_samples, pause,
                                   rounds, baseline)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PlannedCell, id, method, params, settings, role, backend, round, dataset,
                                   dataset_label, view, shape, fingerprint, truth_fingerprint, unsupported, doubt)

namespace {

constexpr int kVersion = 2;

/// Where a problem stands in the list of them.
using Places = std::map<std::pair<std::string, std::string>, std::size_t>;

}  // namespace

std::string plan_to_json(const Plan& plan) {
  const SweepConfig& s = plan.sweep;
  const std::vector<ProblemRecord> problems = plan.problems();
  Places places;
  for (std::size_t i = 0; i < problems.size(); ++i) places[{problems[i].path, problems[i].info.id}] = i;
  nlohmann::json cells = nlohmann::json::array();
  for (const PlannedCell& cell : plan.cells) {
    cells.push_back(cell);
    cells.back()["problem"] = places.at({cell.dataset, cell.problem->id});
  }
  const nlohmann::json json = {{"plan_version", kVersion},
                               {"run", s.run},
                               {"config_path", s.path},
                               {"config", s.text},
                               {"measure", s.measure},
                               {"cell_timeout", s.cell_timeout},
                               {"save_masks", s.save_masks},
                               {"truth_rows", s.truth_rows},
                               {"threads", s.threads},
                               {"seed", s.seed},
                               {"quick", plan.quick},
                               {"note", plan.note},
                               {"folder", plan.folder},
                               {"problems", problems},
                               {"cells", cells}};
  return json_text(json, 1) + "\n";
}

Plan plan_from_json(const std::string& text) {
  try {
    const auto json = nlohmann::json::parse(text);
    if (json.at("plan_version") != kVersion)
      throw UsageError(fmt::format("plan.json has version {}, this program reads {}: start a new run, or read run.h5",
                                   json.at("plan_version").dump(), kVersion));
    Plan plan;
    plan.sweep.run = json.at("run");
    plan.sweep.path = json.at("config_path");
    plan.sweep.text = json.at("config");
    plan.sweep.measure = json.at("measure");
    plan.sweep.cell_timeout = json.at("cell_timeout");
    plan.sweep.save_masks = json.at("save_masks");
    plan.sweep.truth_rows = json.at("truth_rows");
    plan.sweep.threads = json.at("threads");
    plan.sweep.seed = json.at("seed");
    plan.quick = json.at("quick");
    plan.note = json.at("note");
    plan.folder = json.at("folder");
    std::vector<std::shared_ptr<const ProblemInfo>> problems;
    for (const auto& problem : json.at("problems"))
      problems.push_back(std::make_shared<const ProblemInfo>(problem.get<ProblemRecord>().info));
    for (const auto& stored : json.at("cells")) {
      plan.cells.push_back(stored.get<PlannedCell>());
      plan.cells.back().problem = problems.at(stored.at("problem").get<std::size_t>());
    }
    return plan;
  } catch (const nlohmann::json::exception& error) {
    throw UsageError(fmt::format("plan.json is damaged: {}", error.what()));
  }
}

}  // namespace salebench
