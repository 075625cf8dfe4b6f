// Tensors of other programs become captures: .npy, .npz and .safetensors files.
#pragma once

#include <string>
#include <vector>

#include "core/reference.h"
#include "datasets/capture_writer.h"

namespace salebench {

struct ImportOptions {
  std::vector<std::string> inputs;  ///< one file with q, k and v, or three files in this order; or several problems
  std::string out;                  ///< the capture to write
  bool force = false;               ///< overwrite it
  bool append = false;              ///< add to it, if it exists
  std::string id;                   ///< of the problem; empty for the stem of the input, or of `out` given three inputs
  std::string layout = "hld";       ///< order of the axes: hld, lhd, bhld or blhd
  int batch = 0;                    ///< which one of a layout with b
  std::string keys;  ///< "q=model.q,k=model.k": names of tensors, with {layer} for a number; by default q or query, ...
  std::string dtype;  ///< float16 or bfloat16; empty for bfloat16 if all inputs are, else float16
  bool causal = true;
  double scale = 0;    ///< 0: 1 / sqrt(head_dim)
  int window = 0;      ///< keys that a row sees, its own among them; 0 for all before it
  int first_key = 0;   ///< the first visible key: earlier ones are padding
  double softcap = 0;  ///< logits become softcap * tanh(logit / softcap); 0 for none
  int layer = -1;      ///< -1: not known
  /// The model's own output, shaped as q: a file, a tensor of the one input, or of several problems the word for it in
  /// the names of tensors; empty for none.
  std::string output;
  std::string model, source;
};

struct ImportResult {
  std::vector<CaptureProblem> problems;  ///< as written
  std::vector<std::string> warnings;     ///< what looks wrong: the layout, padding, the order of rows
};

/// Writes a capture, `options.out`, or adds to it, holding a few MiB of the tensors at a time: of one problem, or of
/// several as import_parts.h tells them. Returns what it wrote. Throws std::invalid_argument for options that make no
/// sense, DataError for files that are damaged, miss a tensor, or hold values that are not finite or too large for the
/// dtype, WriteError, and Stopped if `progress` says so.
ImportResult import_capture(const ImportOptions& options, const ProgressCall& progress = {});

}  // namespace salebench
