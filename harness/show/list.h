// `salebench list` and `salebench info`: what there is.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace salebench {

/// What a method is, and its parameters; nullopt if none is called so.
std::optional<std::string> describe_method(const std::string& name);

/// All methods with what they say of themselves and their parameters. format: table, json, or md for docs/methods.md.
std::string list_methods(const std::string& format);

/// The problems of captures; with no paths, of the *.h5 files below ./datasets. Throws DataError.
std::string list_datasets(std::vector<std::string> paths, bool json);

/// Provenance as text, ready to paste in a bug report.
std::string info_text();

}  // namespace salebench
