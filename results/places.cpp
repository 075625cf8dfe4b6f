#include "results/places.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <sstream>
#include <tuple>

#include "core/stats.h"

namespace salebench {
namespace {

constexpr std::size_t kDigits = 8;  // of a fingerprint in a label

/// How a cell was measured.
constexpr const char* kSetup[] = {"device", "threads", "cache", "host", "simd"};

std::vector<std::string> names_of(const std::string& path) {
  std::vector<std::string> names;
  std::istringstream text(path);
  for (std::string name; std::getline(text, name, '/');)
    if (!name.empty() && name != ".") names.push_back(name);
  return names;
}

struct TextSpan {
  std::size_t begin = 0, end = 0;
  std::size_t size() const { return end - begin; }
};

/// The absolute paths in settings, "name=value name=value": a value goes on to the next " name=".
std::vector<TextSpan> absolute_paths(const std::string& settings) {
  const auto is_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  const auto begins_next = [&](std::size_t space) {
    std::size_t at = space + 1;
    while (at < settings.size() && is_word(settings[at])) ++at;
    return at > space + 1 && at < settings.size() && settings[at] == '=';
  };
  std::vector<TextSpan> spans;
  for (std::size_t at = settings.find("=/"); at != std::string::npos; at = settings.find("=/", spans.back().end)) {
    std::size_t end = settings.find(' ', at);
    while (end != std::string::npos && !begins_next(end)) end = settings.find(' ', end + 1);
    spans.push_back({at + 1, end == std::string::npos ? settings.size() : end});
  }
  return spans;
}

bool end_alike(const std::vector<std::string>& a, const std::vector<std::string>& b, std::size_t count) {
  return a.size() >= count && b.size() >= count &&
         std::equal(a.end() - std::ptrdiff_t(count), a.end(), b.end() - std::ptrdiff_t(count));
}

/// The value of a column as text; empty where there is nothing to say or the table has no such column.
template <class Record>
std::string text_of(const Record& record, const std::string& name) {
  for (const Column<Record>& column : columns<Record>()) {
    if (name != column.name) continue;
    std::string text;
    column.visit(record, [&](const auto& value) { text = fmt::format("{}", value); });
    return text == "0" ? "" : text;
  }
  return "";
}

/// What values are known by: their fingerprint, wherever the capture lies; without, its path.
template <class Record>
std::string values_of(const Record& r) {
  return r.fingerprint.empty() ? r.dataset : r.fingerprint;
}

/// Adds what the records differ in of how they were measured.
template <class Record>
void add_setup(const std::vector<Record>& records, std::vector<std::string>& labels) {
  for (const std::string name : kSetup) {
    std::vector<std::string> texts;
    for (const Record& r : records) texts.push_back(text_of(r, name));
    std::set<std::string> different(texts.begin(), texts.end());
    different.erase("");
    if (different.size() < 2) continue;
    for (std::size_t i = 0; i < texts.size(); ++i)
      if (!texts[i].empty()) labels[i] += fmt::format(" {}{}", texts[i], name == "threads" ? " threads" : "");
  }
}

/// Adds the fingerprint where one label at one length stands for several values.
template <class Record>
void add_fingerprints(const std::vector<Record>& records, std::vector<std::string>& labels) {
  std::map<std::pair<std::string, std::int64_t>, std::set<std::string>> values;
  for (std::size_t i = 0; i < records.size(); ++i)
    values[{labels[i], records[i].problem.shape.kv_len}].insert(values_of(records[i]));
  for (std::size_t i = 0; i < records.size(); ++i)
    if (values[{labels[i], records[i].problem.shape.kv_len}].size() > 1 && !records[i].fingerprint.empty())
      labels[i] += fmt::format(" {}", records[i].fingerprint.substr(0, kDigits));
}

double median_known(std::vector<double> values) {
  std::erase_if(values, [](double value) { return std::isnan(value); });
  return median(std::move(values));
}

/// What is the median over rounds.
constexpr double CellRecord::*kTimes[] = {&CellRecord::select_s,   &CellRecord::index_s,    &CellRecord::attend_s,
                                          &CellRecord::total_s,    &CellRecord::total_lo_s, &CellRecord::total_hi_s,
                                          &CellRecord::dense_s,    &CellRecord::speedup,    &CellRecord::speedup_lo,
                                          &CellRecord::speedup_hi, &CellRecord::noise};

TimedSetting merged(const std::vector<CellRecord>& records, const std::vector<std::size_t>& rounds) {
  TimedSetting setting{rounds.front(), int(rounds.size()), records[rounds.front()], {}};
  for (const std::size_t i : rounds)
    if (!std::isnan(records[i].speedup)) setting.speedups.push_back(records[i].speedup);
  for (const auto time : kTimes) {
    std::vector<double> values;
    for (const std::size_t i : rounds) values.push_back(records[i].*time);
    setting.record.*time = median_known(std::move(values));
  }
  for (const std::size_t i : rounds)
    setting.record.converged = std::min(setting.record.converged, records[i].converged),
    setting.record.busy = std::max(setting.record.busy, records[i].busy);
  return setting;
}

}  // namespace

std::map<std::string, std::string> short_paths(const std::set<std::string>& paths) {
  std::map<std::string, std::string> shortened;
  for (const std::string& path : paths) {
    const auto names = names_of(path);
    const auto is_shared = [&](std::size_t count) {
      return std::ranges::any_of(
          paths, [&](const std::string& other) { return other != path && end_alike(names, names_of(other), count); });
    };
    std::size_t count = 1;
    while (count < names.size() && is_shared(count)) ++count;
    const auto begin = names.end() - std::ptrdiff_t(std::min(count, names.size()));
    shortened[path] = fmt::format("{}", fmt::join(begin, names.end(), "/"));
  }
  return shortened;
}

template <class Record>
std::vector<std::string> settings_labels(const std::vector<Record>& records) {
  std::set<std::string> paths;
  for (const Record& r : records)
    for (const TextSpan& span : absolute_paths(r.settings)) paths.insert(r.settings.substr(span.begin, span.size()));
  const auto shortened = short_paths(paths);
  std::vector<std::string> labels;
  for (const Record& r : records) {
    std::string label;
    std::size_t rest = 0;
    for (const TextSpan& span : absolute_paths(r.settings)) {
      label += r.settings.substr(rest, span.begin - rest) + shortened.at(r.settings.substr(span.begin, span.size()));
      rest = span.end;
    }
    labels.push_back(label + r.settings.substr(rest));
  }
  return labels;
}

namespace {

/// What people call captures: as the config of their records does, or by short paths.
template <class Record>
std::map<std::string, std::string> named_paths(const std::set<std::string>& paths, const std::vector<Record>& records) {
  auto names = short_paths(paths);
  if constexpr (std::is_same_v<Record, CellRecord>)
    for (const Record& r : records)
      if (!r.dataset_label.empty()) names[r.dataset] = r.dataset_label;
  return names;
}

}  // namespace

template <class Record>
std::vector<std::string> place_labels(const std::vector<Record>& records) {
  std::map<std::pair<std::string, std::string>, std::string> datasets;  // the first of each problem's values
  std::set<std::string> different;
  for (const Record& r : records)
    different.insert(datasets.try_emplace({values_of(r), r.problem.id}, r.dataset).first->second);
  const auto shortened = named_paths(different, records);
  std::vector<std::string> labels;
  for (const Record& r : records) {
    const std::string& dataset = datasets.at({values_of(r), r.problem.id});
    const std::string repeat = text_of(r, "repeat");
    const std::string attention = attention_text(r.problem), device = text_of(r, "backend");
    labels.push_back(fmt::format("{}{}{}{}{}{}", different.size() > 1 ? shortened.at(dataset) : "",
                                 different.size() > 1 ? " " : "", r.problem.id,
                                 attention.empty() ? "" : fmt::format(" ({})", attention),
                                 repeat.empty() || repeat == "1" ? "" : fmt::format(" x{}", repeat),
                                 device.empty() || device == "cpu" ? "" : " " + device));
  }
  add_setup(records, labels);
  add_fingerprints(records, labels);
  return labels;
}

std::vector<std::string> setup_labels(const std::vector<CellRecord>& records) {
  const auto vary = [&](auto member) {
    return std::ranges::any_of(records, [&](const CellRecord& r) { return r.*member != records.front().*member; });
  };
  const bool backends = vary(&CellRecord::backend), repeats = vary(&CellRecord::repeat);
  std::vector<std::string> labels;
  for (const CellRecord& r : records)
    labels.push_back((backends ? " " + r.backend : "") + (repeats ? fmt::format(" x{}", r.repeat) : ""));
  add_setup(records, labels);
  for (std::string& label : labels) label.erase(0, label.starts_with(' '));
  return labels;
}

std::map<std::string, std::string> dataset_labels(const std::vector<CellRecord>& records) {
  std::set<std::string> paths;
  for (const CellRecord& r : records) paths.insert(r.dataset);
  return named_paths(paths, records);
}

PlaceKey place_of(const CellRecord& r) {
  PlaceKey key = {{values_of(r), r.problem.id, std::to_string(r.problem.shape.kv_len)},
                  {std::to_string(r.repeat), r.backend}};
  for (const char* name : kSetup) key.setup.push_back(text_of(r, name));
  return key;
}

template std::vector<std::string> settings_labels(const std::vector<CellRecord>&);
template std::vector<std::string> settings_labels(const std::vector<CalibrationRecord>&);
template std::vector<std::string> place_labels(const std::vector<CellRecord>&);
template std::vector<std::string> place_labels(const std::vector<CalibrationRecord>&);

bool has_usable_times(const CellRecord& record) {
  return record.status == "ok" && record.timing_usable == 1;
}

bool has_untimed_selection(const CellRecord& record) {
  return !record.selected_on.empty() && record.selected_on != record.backend;
}

std::vector<TimedSetting> timed_settings(const std::vector<CellRecord>& records) {
  using SettingKey = std::tuple<PlaceKey, std::string, std::string>;
  std::map<std::pair<SettingKey, std::int64_t>, int> seen;    // by round
  std::map<std::pair<SettingKey, int>, std::size_t> numbers;  // a round that comes again is another measurement
  std::vector<std::vector<std::size_t>> rounds;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const CellRecord& r = records[i];
    const SettingKey key = {place_of(r), r.method, r.params};
    const int again = seen[{key, r.round}]++;
    if (!has_usable_times(r)) continue;
    const auto [place, fresh] = numbers.try_emplace({key, again}, rounds.size());
    if (fresh) rounds.emplace_back();
    rounds[place->second].push_back(i);
  }
  std::vector<TimedSetting> settings;
  for (const auto& same : rounds) settings.push_back(merged(records, same));
  return settings;
}

bool was_left_out(const CellRecord& record) {
  return record.status == "unsupported" || record.status == "interrupted";
}

bool is_in_doubt(const CellRecord& record) {
  return has_usable_times(record) && (!record.converged || record.busy);
}

bool attends_exactly(const CellRecord& record) {
  return std::isnan(record.attend_rel_l2);
}

std::vector<TimedSetting> fastest_at_recall(const std::vector<CellRecord>& records, double recall) {
  std::map<std::tuple<PlaceKey, std::string, bool>, TimedSetting> best;
  for (const TimedSetting& setting : timed_settings(records)) {
    const CellRecord& r = setting.record;
    if (!(r.recall_mean >= recall) || r.role == "oracle" || has_untimed_selection(r) || std::isnan(r.total_s)) continue;
    const auto [place, fresh] = best.try_emplace({place_of(r), display_name(r), attends_exactly(r)}, setting);
    if (!fresh && r.total_s < place->second.record.total_s) place->second = setting;
  }
  std::vector<TimedSetting> picked;
  for (auto& [key, setting] : best) picked.push_back(std::move(setting));
  const auto labels = place_labels(records);
  std::ranges::sort(picked, {}, [&](const TimedSetting& s) {
    return std::tuple(labels[s.first], s.record.problem.shape.kv_len, s.record.total_s, s.first);
  });
  return picked;
}

}  // namespace salebench
