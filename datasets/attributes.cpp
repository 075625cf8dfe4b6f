#include "datasets/attributes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <string_view>

#include "datasets/dataset.h"

namespace salebench {
namespace {

/// Read by Dataset, or descriptions that no figure depends on.
constexpr std::array<std::string_view, 20> kKnownAttributes = {
    "causal", "scale",   "window",  "first_key", "softcap",    "layer", "kv_head", "model", "prompt",      "source",
    "rope",   "licence", "license", "kind",      "parameters", "seed",  "heads",   "note",  "created_utc", "dtype"};
/// Those of them that say what attention is.
constexpr std::array<std::string_view, 6> kAttention = {"causal", "scale", "window", "first_key", "softcap", "rope"};
constexpr std::array<std::string_view, 6> kKnownDatasets = {"q", "k", "v", "output", "sinks", "token_ids"};

constexpr const char* kNoBias = "biases of logits can't be measured here; leave it out where the model adds none";
constexpr const char* kApply = "store q and k as the attention function receives them, and leave it out";
constexpr const char* kScale = "multiply it into the attribute scale, and leave it out";
constexpr const char* kMask = "say causal, window and first_key instead; no other mask can be measured";
constexpr const char* kWindow = "say window = N, keys that a row sees, its own among them";
constexpr const char* kSinks = "store one logit a query head as the dataset sinks";

/// A name that changes attention, the value at which it does not, and what to do instead.
struct Refused {
  std::string_view name;
  double harmless;
  const char* cure;
};

constexpr Refused kRefused[] = {
    {"bias", 0, kNoBias},
    {"attention_bias", 0, kNoBias},
    {"attn_bias", 0, kNoBias},
    {"alibi", 0, kNoBias},
    {"alibi_slopes", 0, kNoBias},
    {"slopes", 0, kNoBias},
    {"position_bias", 0, kNoBias},
    {"relative_position_bias", 0, kNoBias},
    {"relative_attention_bias", 0, kNoBias},
    {"rel_pos_bias", 0, kNoBias},
    {"qk_norm", 0, kApply},
    {"qk_layernorm", 0, kApply},
    {"q_norm", 0, kApply},
    {"k_norm", 0, kApply},
    {"rotary", 0, kApply},
    {"rotary_emb", 0, kApply},
    {"position_embedding", 0, kApply},
    {"temperature", 1, kScale},
    {"logit_scale", 1, kScale},
    {"query_scale", 1, kScale},
    {"scaling", 0, "say scale instead"},
    {"sm_scale", 0, "say scale instead"},
    {"softmax_scale", 0, "say scale instead"},
    {"is_causal", 1, "say causal instead"},
    {"mask", 0, kMask},
    {"attention_mask", 0, kMask},
    {"attn_mask", 0, kMask},
    {"block_mask", 0, kMask},
    {"padding_mask", 0, kMask},
    {"key_padding_mask", 0, kMask},
    {"left_padding", 0, "say first_key = first key that is no padding"},
    {"sliding_window", 0, kWindow},
    {"window_size", 0, kWindow},
    {"soft_cap", 0, "say softcap instead"},
    {"logit_softcap", 0, "say softcap instead"},
    {"logits_soft_cap", 0, "say softcap instead"},
    {"attn_logit_softcapping", 0, "say softcap instead"},
    {"sink", 0, kSinks},
    {"s_aux", 0, kSinks},
    {"attention_sinks", 0, kSinks},
};

/// In lower case, with underscores.
std::string plain_name(std::string name) {
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return c == '-' ? '_' : char(std::tolower(c)); });
  return name;
}

std::optional<double> number_of(const h5::Group& group, const std::string& name) {
  try {
    return group.number_attribute(name, 0);
  } catch (const h5::Error&) {
    return std::nullopt;
  }
}

/// Whether an attribute says that there is no such thing, or that it is in q and k.
bool says_harmless(const h5::Group& group, const std::string& name, const Refused& refused) {
  const std::string text = plain_name(group.string_attribute(name));
  if (text.empty()) return number_of(group, name) == refused.harmless;
  return text == "none" || text == "no" || text == "false" || (text == "applied" && refused.cure == kApply);
}

/// A rope that is left to do, or not known to be done.
bool is_rope_missing(const h5::Group& group) {
  const std::string text = plain_name(group.string_attribute("rope"));
  return text.empty() ? number_of(group, "rope") != 1 : text != "applied" && text != "none";
}

DataError refusal(const h5::Group& group, const std::string& kind, const std::string& name, const std::string& why) {
  return DataError(fmt::format("{}: {} '{}' {}", group.where(), kind, name, why));
}

/// Whether the name is known. Throws for one that is known and changes attention, or nearly a name that is read.
bool is_known_attribute(const h5::Group& group, const std::string& name) {
  if (name == "rope") {
    if (!is_rope_missing(group)) return true;
    throw refusal(group, "attribute", name, "is neither 'applied' nor 'none': store q and k with it applied");
  }
  if (std::ranges::find(kKnownAttributes, name) != kKnownAttributes.end()) return true;
  const std::string plain = plain_name(name);
  for (const Refused& refused : kRefused)
    if (refused.name == plain) {
      if (says_harmless(group, name, refused)) return true;
      throw refusal(group, "attribute", name, fmt::format("changes attention, which is not heeded: {}", refused.cure));
    }
  if (plain == "sinks") throw refusal(group, "attribute", name, fmt::format("is read as a dataset only: {}", kSinks));
  if (std::ranges::find(kKnownAttributes, plain) != kKnownAttributes.end())
    throw refusal(group, "attribute", name, fmt::format("is not read; write it '{}'", plain));
  return false;
}

bool is_known_dataset(const h5::Group& group, const std::string& name) {
  if (std::ranges::find(kKnownDatasets, name) != kKnownDatasets.end()) return true;
  const std::string plain = plain_name(name);
  for (const Refused& refused : kRefused)
    if (refused.name == plain)
      throw refusal(group, "dataset", name, fmt::format("changes attention, which is not heeded: {}", refused.cure));
  if (std::ranges::find(kKnownAttributes, plain) != kKnownAttributes.end())
    throw refusal(group, "dataset", name, "is not read; make it an attribute of the problem");
  return false;
}

}  // namespace

std::vector<std::string> check_attributes(const h5::Group& problem) {
  std::vector<std::string> unknown;
  for (const std::string& name : problem.attributes())
    if (!is_known_attribute(problem, name)) unknown.push_back(name);
  for (const std::string& name : problem.children())
    if (!is_known_dataset(problem, name)) unknown.push_back(name);
  return unknown;
}

void refuse_attention_attributes(const std::vector<std::string>& names, const std::string& where) {
  for (const std::string& name : names) {
    const std::string plain = plain_name(name);
    const auto has_name = [&](const Refused& refused) { return refused.name == plain; };
    if (std::ranges::find(kAttention, plain) != kAttention.end() || std::ranges::any_of(kRefused, has_name))
      throw DataError(fmt::format("{}: attribute '{}' is not heeded there: it belongs to each problem, /problems/<id>",
                                  where, name));
  }
}

}  // namespace salebench
