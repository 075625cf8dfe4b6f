#include "datasets/import/import_parts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>

#include "datasets/dataset.h"

namespace salebench {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLayer = "{layer}";
constexpr int kMostDigits = 6;

using Words = std::vector<std::string>;

/// A tensor of one of the files, by the name that it is told by: path in a folder, name in the file.
struct Found {
  std::string name;
  std::shared_ptr<TensorFile> file;
  std::size_t index = 0;
};

/// What a name says of a tensor.
struct Sense {
  std::string role;  ///< q, k, v or output
  Words rest;        ///< which the tensors of a problem share
  int layer = -1;
};

bool is_tensor_file(const fs::path& path) {
  return path.extension() == ".npy" || path.extension() == ".npz" || path.extension() == ".safetensors";
}

/// A name in lower-case words and numbers: "layers.3.self_attn.Q" is layers, 3, self, attn, q.
Words words_of(const std::string& name) {
  Words words;
  int last = 0;  // 1: of a word, 2: of a number
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    const int kind = std::isdigit(byte) ? 2 : std::isalpha(byte) || byte >= 0x80 ? 1 : 0;
    if (kind != 0 && kind != last) words.emplace_back();
    if (kind != 0) words.back() += char(std::tolower(byte));
    last = kind;
  }
  return words;
}

std::optional<int> number_of(const std::string& word) {
  int value = 0;
  if (word.size() > kMostDigits) return std::nullopt;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc() && end == word.data() + word.size() && value >= 0 ? std::optional(value) : std::nullopt;
}

/// The number after a word for layers, or the only one.
int layer_in(const Words& words) {
  const std::set<std::string> layers = {"layer", "layers", "block", "blocks", "h", "l"};
  std::vector<int> numbers;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto number = number_of(words[i]);
    if (!number) continue;
    if (i > 0 && layers.contains(words[i - 1])) return *number;
    numbers.push_back(*number);
  }
  return numbers.size() == 1 ? numbers[0] : -1;
}

/// Numbers by value, before words.
std::string sort_key(const Words& words) {
  std::string key;
  for (const std::string& word : words) {
    key += number_of(word) ? fmt::format("{:0>9}", word) : word;
    key += '\n';
  }
  return key;
}

class Senses {
 public:
  explicit Senses(const ImportOptions& o) : by_keys_(o.keys.find(kLayer) != std::string::npos) {
    if (by_keys_) {
      patterns_ = parse_keys(o.keys);
      for (const char* role : {"q", "k", "v"})
        if (!patterns_.contains(role)) throw std::invalid_argument(fmt::format("--keys says no {}=NAME", role));
      if (!o.output.empty()) patterns_["output"] = o.output;
      return;
    }
    if (!o.keys.empty())
      throw std::invalid_argument(fmt::format(
          "--keys of several problems has {} where the number of the layer stands: q=layers.{}.q,...", kLayer, kLayer));
    for (const auto& [role, names] : std::map<std::string, Words>{
             {"q", {"q", "query", "queries"}}, {"k", {"k", "key", "keys"}}, {"v", {"v", "value", "values"}}})
      for (const std::string& name : names) roles_[name] = role;
    if (o.output.empty()) return;
    if (words_of(o.output).size() != 1)
      throw std::invalid_argument(
          fmt::format("--output of several problems is the word in the names of those tensors, "
                      "such as `output` or `o`, not '{}'",
                      o.output));
    roles_[words_of(o.output)[0]] = "output";
  }

  /// What --keys calls a role; empty where names are told by their words.
  std::string pattern_of(const std::string& role) const {
    const auto found = patterns_.find(role);
    return found == patterns_.end() ? "" : found->second;
  }

  std::optional<Sense> of(const std::string& name) const { return by_keys_ ? by_pattern(name) : by_words(name); }

 private:
  std::optional<Sense> by_pattern(const std::string& name) const {
    for (const auto& [role, pattern] : patterns_) {
      const std::size_t at = pattern.find(kLayer), after = at + std::string_view(kLayer).size();
      if (at == std::string::npos)
        throw std::invalid_argument(fmt::format("'{}' has no {} where the others have it", pattern, kLayer));
      const std::string tail = pattern.substr(after);
      if (!name.starts_with(pattern.substr(0, at)) || !name.ends_with(tail) || name.size() < at + tail.size()) continue;
      const std::string digits = name.substr(at, name.size() - at - tail.size());
      if (const auto layer = number_of(digits)) return Sense{role, {"layer", digits}, *layer};
    }
    return std::nullopt;
  }

  /// The last word for q, k or v is the one that counts: a k before it may stand for a kernel or a size.
  std::optional<Sense> by_words(const std::string& name) const {
    Words words = words_of(name);
    for (std::size_t i = words.size(); i-- > 0;) {
      const auto role = roles_.find(words[i]);
      if (role == roles_.end()) continue;
      Sense sense = {role->second, words, -1};
      sense.rest.erase(sense.rest.begin() + std::ptrdiff_t(i));
      sense.layer = layer_in(sense.rest);
      return sense;
    }
    return std::nullopt;
  }

  bool by_keys_;
  std::map<std::string, std::string> patterns_, roles_;
};

/// All tensors of the inputs. Only what tells them apart is in their names: files count where there are several.
std::vector<Found> all_tensors(const ImportOptions& o) {
  std::vector<std::pair<std::string, std::string>> files;  // paths, and what of them counts
  for (const std::string& input : o.inputs) {
    if (!fs::is_directory(input)) {
      files.emplace_back(input, o.inputs.size() > 1 ? fs::path(input).stem().string() : "");
      continue;
    }
    for (const auto& entry : fs::recursive_directory_iterator(input))
      if (entry.is_regular_file() && is_tensor_file(entry.path()))
        files.emplace_back(entry.path(), entry.path().lexically_relative(input).replace_extension().string());
  }
  if (files.empty())
    throw DataError(fmt::format("{}: no .npy, .npz or .safetensors files in there", fmt::join(o.inputs, ", ")));
  std::vector<Found> all;
  for (const auto& [path, name] : files) {
    const std::shared_ptr<TensorFile> file = open_tensor_file(path);
    for (std::size_t i = 0; i < file->names().size(); ++i) {
      const std::string& own = file->names()[i];
      all.push_back({fmt::format("{}{}{}", name, name.empty() || own.empty() ? "" : "/", own), file, i});
    }
  }
  return all;
}

/// "layer03" where layers tell the problems apart, else the words of their names.
void name_parts(std::vector<std::pair<Words, ImportPart>>& parts) {
  std::set<int> layers;
  for (const auto& [words, part] : parts) layers.insert(part.layer);
  const bool by_layer = layers.size() == parts.size() && !layers.contains(-1);
  const std::size_t width = std::max<std::size_t>(2, layers.empty() ? 0 : std::to_string(*layers.rbegin()).size());
  for (auto& [words, part] : parts)
    part.id = by_layer ? fmt::format("layer{:0>{}}", part.layer, width) : fmt::format("{}", fmt::join(words, "_"));
}

void require_whole(const ImportPart& part, const std::set<std::string>& roles, const std::string& name,
                   const Senses& senses) {
  std::vector<std::string> missing;
  for (const std::string& role : roles)
    if (std::ranges::find(part.inputs, role, &ImportInput::name) == part.inputs.end()) missing.push_back(role);
  if (missing.empty()) return;
  if (const std::string pattern = senses.pattern_of(missing[0]); !pattern.empty())
    throw DataError(fmt::format("the problem of '{}' in {} has no tensor {}, as {} names it", name,
                                part.inputs.front().file->path(), missing[0], pattern));
  throw DataError(
      fmt::format("the problem of '{}' in {} has no {}: its tensors' names must differ in nothing but q, k "
                  "and v, or --keys with {} tells them",
                  name, part.inputs.front().file->path(), fmt::join(missing, " and no "), kLayer));
}

std::vector<ImportPart> several_parts(const ImportOptions& o, std::vector<std::string>& remarks) {
  if (!o.id.empty() || o.layer >= 0)
    throw std::invalid_argument("--id and --layer are of one problem; those of several come from their names");
  const Senses senses(o);
  std::map<std::string, std::pair<Words, ImportPart>> found;
  std::map<std::string, std::string> examples;
  std::vector<std::string> others;
  for (const Found& tensor : all_tensors(o)) {
    const auto sense = senses.of(tensor.name);
    if (!sense) {
      others.push_back(printable(tensor.name));
      continue;
    }
    const std::string key = sort_key(sense->rest);
    auto& [words, part] = found[key];
    words = sense->rest, part.layer = sense->layer;
    if (std::ranges::find(part.inputs, sense->role, &ImportInput::name) != part.inputs.end())
      throw DataError(fmt::format("{}: '{}' is the second tensor {} of its problem; --keys with {} tells which counts",
                                  tensor.file->path(), printable(tensor.name), sense->role, kLayer));
    part.inputs.push_back(make_input(o, sense->role, tensor.file, tensor.index));
    examples.try_emplace(key, printable(tensor.name));
  }
  if (found.empty())
    throw DataError(fmt::format(
        "no names of tensors say q, k or v: {}; --keys with {} tells them",
        fmt::join(others.begin(), others.begin() + std::ptrdiff_t(std::min<std::size_t>(5, others.size())), ", "),
        kLayer));
  std::set<std::string> roles = {"q", "k", "v"};
  if (!o.output.empty()) roles.insert("output");
  std::vector<std::pair<Words, ImportPart>> parts;
  for (auto& [key, part] : found) {
    require_whole(part.second, roles, examples.at(key), senses);
    std::ranges::sort(part.second.inputs, {},
                      [](const ImportInput& input) { return std::string_view("qkvo").find(input.name[0]); });
    parts.push_back(std::move(part));
  }
  std::ranges::stable_sort(parts, {}, [](const auto& part) { return part.second.layer; });
  name_parts(parts);
  if (!others.empty())
    remarks.push_back(fmt::format("{} tensors are left out, as their names say none of {}, such as {}", others.size(),
                                  fmt::join(roles, ", "), others.front()));
  std::vector<ImportPart> result;
  for (auto& [words, part] : parts) result.push_back(std::move(part));
  return result;
}

/// One file that has q, k and v by their plain names, or three that hold a tensor each.
bool is_one_problem(const ImportOptions& o) {
  if (o.keys.find(kLayer) != std::string::npos) return false;
  if (std::ranges::any_of(o.inputs, [](const std::string& input) { return fs::is_directory(input); })) return false;
  if (o.inputs.size() == 3 && !o.keys.empty()) return true;
  if (o.inputs.size() == 3)
    return std::ranges::all_of(o.inputs,
                               [](const auto& input) { return open_tensor_file(input)->names().size() == 1; });
  if (o.inputs.size() > 1) return false;
  const std::vector<std::string> names = open_tensor_file(o.inputs[0])->names();
  if (!o.keys.empty() || names.size() <= 3) return true;
  const auto has = [&](const char* name) { return std::ranges::find(names, name) != names.end(); };
  return (has("q") || has("query")) && (has("k") || has("key")) && (has("v") || has("value"));
}

/// Of three files whose names all say what they are, the names count, as a shell that fills in *.npy knows no q, k, v;
/// else their order. Throws DataError for names that say of two that they are the same.
std::vector<std::string> in_order(const ImportOptions& o, std::vector<std::string>& remarks) {
  if (o.inputs.size() != 3 || !o.keys.empty()) return o.inputs;
  ImportOptions names_alone;
  const Senses senses(names_alone);
  std::map<std::string, std::string> by_role;
  for (const std::string& input : o.inputs) {
    const auto sense = senses.of(fs::path(input).stem());
    if (!sense) return o.inputs;
    const auto [first, is_new] = by_role.try_emplace(sense->role, input);
    if (!is_new)
      throw DataError(
          fmt::format("{} and {}: by their names both are {}; import takes q, k and v, or a folder of layers",
                      first->second, input, sense->role));
  }
  std::vector<std::string> ordered = {by_role.at("q"), by_role.at("k"), by_role.at("v")};
  if (ordered != o.inputs)
    remarks.push_back(fmt::format("taken by their names: q, k and v are {}", fmt::join(ordered, ", ")));
  return ordered;
}

/// Says so where a batch was not asked for and others are left out.
void remark_batch(const ImportOptions& o, const std::vector<ImportPart>& parts, std::vector<std::string>& remarks) {
  if (o.layout.size() != 4 || o.batch > 0 || parts.empty()) return;
  if (const std::uint64_t count = parts[0].inputs[0].info.shape[0]; count > 1)
    remarks.push_back(fmt::format("of {} batches the first is taken; --batch picks another", count));
}

}  // namespace

std::vector<ImportPart> open_parts(const ImportOptions& o, std::vector<std::string>& remarks) {
  std::vector<ImportPart> parts;
  if (!is_one_problem(o)) {
    parts = several_parts(o, remarks);
  } else {
    ImportOptions ordered = o;
    ordered.inputs = in_order(o, remarks);
    const std::string stem = fs::path(o.inputs.size() == 1 ? o.inputs[0] : o.out).stem();
    parts = {{!o.id.empty() ? o.id : stem, o.layer, open_inputs(ordered)}};
  }
  remark_batch(o, parts, remarks);
  return parts;
}

}  // namespace salebench
