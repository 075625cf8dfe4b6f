// Which tensors of an import belong together: one problem, or one a layer, told by the names of tensors and files.
#pragma once

#include <string>
#include <vector>

#include "datasets/import/import_inputs.h"

namespace salebench {

/// The tensors of one problem.
struct ImportPart {
  std::string id;
  int layer = -1;  ///< -1: not known
  std::vector<ImportInput> inputs;
};

/// One file with q, k and v, or three files of one tensor each, are one problem. Else (a folder, several files, a file
/// with the tensors of several layers) tensors are of one problem if their names differ in nothing but the word for
/// query, key or value, such as layers.3.q and layers.3.v, or layer3_q.npy and layer3_v.npy; --keys with {layer} says
/// which names count. Problems come by their numbers. Throws DataError where one lacks a tensor, and
/// std::invalid_argument for options that fit one problem alone. `remarks` hears of tensors that are of none.
std::vector<ImportPart> open_parts(const ImportOptions& options, std::vector<std::string>& remarks);

}  // namespace salebench
