// Which tensors of which files an import takes, and the shape that they give.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/problem.h"
#include "datasets/files/tensor_file.h"
#include "datasets/import/import.h"

namespace salebench {

/// One of q, k, v and output within its file.
struct ImportInput {
  std::string name;
  std::shared_ptr<TensorFile> file;
  std::size_t index = 0;  ///< in file->names()
  TensorInfo info;
  std::uint64_t heads = 0, len = 0, dim = 0;
  bool heads_first = true;  ///< [heads, len, dim], else [len, heads, dim]
  std::uint64_t first = 0;  ///< element that the batch begins with

  std::string where() const;
};

/// A tensor of a file by the layout. Throws DataError for one of another type or shape.
ImportInput make_input(const ImportOptions& options, std::string name, std::shared_ptr<TensorFile> file,
                       std::size_t index);

/// "q=model.q,k=model.k". Throws std::invalid_argument.
std::map<std::string, std::string> parse_keys(const std::string& text);

/// q, k and v, and the model's output where `options.output` names it. Throws DataError for a tensor that is missing,
/// of another type, or not of the layout, and std::invalid_argument for keys that make no sense.
std::vector<ImportInput> open_inputs(const ImportOptions& options);

/// The shape of the problem. Throws DataError where the tensors don't belong together.
Shape problem_shape(const std::vector<ImportInput>& inputs, const std::string& layout);

}  // namespace salebench
