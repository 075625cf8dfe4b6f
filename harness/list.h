// `salebench list` and `salebench info`: what there is.
#pragma once

#include <string>
#include <vector>

namespace salebench {

/// All methods with their parameters, defaults and ranges.
std::string list_methods(bool json);

/// The problems of captures; with no paths, of the *.h5 files below ./datasets. Throws DataError.
std::string list_datasets(std::vector<std::string> paths, bool json);

/// Provenance as text, ready to paste in a bug report.
std::string info_text();

}  // namespace salebench
