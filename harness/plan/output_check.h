// Whether a capture contradicts itself: its q, k and v do not give the output that it holds, as another engine's heads,
// masks or scales may be arranged otherwise than ours.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "datasets/dataset.h"

namespace salebench {

struct OutputCheck {
  std::vector<double> distance;  ///< [q_heads]: relative L2 distance of the double reference to the stored output
  double bound = 0;              ///< what rounding explains: by the types of values and output, and the logits
  std::string explanation;       ///< what would make them agree, or agree much better, where something tried does

  double worst() const;
  bool agrees() const;
  /// "output differs by 0.43 from what q, k and v give (rounding explains 0.002); ..."; empty where they agree.
  std::string complaint() const;
};

/// Compares on a sample of rows. `output` is [q_heads, q_len, head_dim], of `output_dtype`. Where they disagree, tries
/// tiled KV heads, causality the other way or aligned at the first token, windows one off, and other scales.
OutputCheck check_output(const ProblemTensors& problem, const std::string& dtype, const std::vector<float>& output,
                         const std::string& output_dtype);

/// The same for a problem of a capture, loaded as a whole; nothing where it holds no output. Throws DataError.
std::optional<OutputCheck> check_stored_output(const Dataset& dataset, const ProblemInfo& info,
                                               const ProblemTensors& problem);

}  // namespace salebench
