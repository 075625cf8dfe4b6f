// plan.json: the plan of a run, for its workers, `--resume` and `collect`.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "harness/plan.h"

namespace salebench {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Shape, q_heads, kv_heads, q_len, kv_len, head_dim)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ProblemView, length, repeat)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ProblemInfo, id, shape, causal, scale, dtype, model, prompt, source, captured_utc,
                                   layer)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(MeasureConfig, cache, warmup, min_time, max_time, max_noise, min_samples, pause,
                                   rounds, baseline)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PlannedCell, id, method, params, settings, role, backend, round, dataset, problem,
                                   view, shape, fingerprint, truth_fingerprint, unsupported)

namespace {

constexpr int kVersion = 1;

}  // namespace

std::string plan_to_json(const Plan& plan) {
  const SweepConfig& s = plan.sweep;
  const nlohmann::json json = {{"plan_version", kVersion},   {"run", s.run},
                               {"config_path", s.path},      {"config", s.text},
                               {"measure", s.measure},       {"cell_timeout", s.cell_timeout},
                               {"save_masks", s.save_masks}, {"truth_rows", s.truth_rows},
                               {"threads", s.threads},       {"seed", s.seed},
                               {"quick", plan.quick},        {"cells", plan.cells}};
  return json.dump(1) + "\n";
}

Plan plan_from_json(const std::string& text) {
  try {
    const auto json = nlohmann::json::parse(text);
    if (json.at("plan_version") != kVersion) throw UsageError("plan.json is of another version of salebench");
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
    plan.cells = json.at("cells").get<std::vector<PlannedCell>>();
    return plan;
  } catch (const nlohmann::json::exception& error) {
    throw UsageError(fmt::format("plan.json is damaged: {}", error.what()));
  }
}

}  // namespace salebench
