#include "datasets/calibration_file.h"

#include <fmt/format.h>

#include <fstream>

#include "core/atomic_file.h"
#include "core/json_text.h"
#include "datasets/dataset.h"

namespace salebench {
namespace {

constexpr const char* kFormat = "salebench.calibration";
constexpr int kVersion = 1;

}  // namespace

/// The figures that calibrations have, by their names there. JSON has no NaN or infinity: null stands for them.
void to_json(nlohmann::json& json, const Accuracy& accuracy) {
  for (const Figure& figure : figures())
    if (*figure.calibrated) json[figure.calibrated] = accuracy.*figure.member;
}
void from_json(const nlohmann::json& json, Accuracy& accuracy) {
  for (const Figure& figure : figures())
    if (const auto& value = *figure.calibrated ? json.at(figure.calibrated) : nlohmann::json(); !value.is_null())
      value.get_to(accuracy.*figure.member);
}
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(CalibratedProblem, dataset, problem, fingerprint, length, fit, held_out)

void write_calibration(const std::string& path, const CalibrationFile& file) {
  nlohmann::ordered_json json = {{"format", kFormat},
                                 {"format_version", kVersion},
                                 {"method", file.method},
                                 {"method_version", file.method_version},
                                 {"parameter", file.parameter},
                                 {"settings", file.settings},
                                 {"target", {{file.metric, file.target}}},
                                 {"scope", file.scope},
                                 {"search", file.search},
                                 {"fit", file.fit}};
  if (file.global)
    json["value"] = file.value;
  else
    json["values"] = file.values;
  if (!file.head_settings.empty()) json["head_settings"] = file.head_settings;
  json["problems"] = nlohmann::json(file.problems);
  const std::string text = json_text(json, 1) + "\n";
  write_file_atomically(path, text.data(), text.size());
}

CalibrationFile read_calibration(const std::string& path) {
  std::ifstream stream(path);
  if (!stream) throw DataError(fmt::format("cannot read {}", path));
  try {
    const auto json = nlohmann::json::parse(stream);
    if (json.at("format") != kFormat) throw DataError(fmt::format("{} is not a file of `salebench calibrate`", path));
    if (json.at("format_version") != kVersion)
      throw DataError(fmt::format("{} is of another version of salebench; calibrate again", path));
    CalibrationFile file;
    file.method = json.at("method");
    file.method_version = json.at("method_version");
    file.parameter = json.at("parameter");
    file.settings = json.at("settings").get<ParamValues>();
    const auto target = json.at("target").get<std::map<std::string, double>>();
    if (target.size() != 1) throw DataError(fmt::format("{}: 'target' must name one figure", path));
    file.metric = target.begin()->first, file.target = target.begin()->second;
    file.scope = json.at("scope"), file.search = json.at("search"), file.fit = json.at("fit");
    file.global = json.contains("value");
    if (file.global)
      file.value = json.at("value");
    else
      file.values = json.at("values").get<std::map<std::string, std::vector<double>>>();
    if (json.contains("head_settings"))
      file.head_settings = json.at("head_settings").get<std::map<std::string, std::vector<ParamValues>>>();
    file.problems = json.at("problems").get<std::vector<CalibratedProblem>>();
    return file;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("{} is not a file of `salebench calibrate`, or is damaged: {}", path, error.what()));
  }
}

}  // namespace salebench
