// Tensors of other programs become captures: .npy, .npz and .safetensors files.
#pragma once

#include <string>
#include <vector>

#include "core/reference.h"
#include "datasets/capture_writer.h"

namespace salebench {

struct ImportOptions {
  std::vector<std::string> inputs;  ///< one file with q, k and v, or three files in this order
  std::string out;                  ///< the capture to write
  bool force = false;               ///< overwrite it
  std::string id;                   ///< of the problem; empty for the stem of the input, or of `out` given three inputs
  std::string layout = "hld";       ///< order of the axes: hld, lhd, bhld or blhd
  int batch = 0;                    ///< which one of a layout with b
  std::string keys;                 ///< "q=model.q,k=model.k": names of tensors; by default q or query, and so on
  std::string dtype;                ///< float16 or bfloat16; empty for bfloat16 if all inputs are, else float16
  bool causal = true;
  double scale = 0;    ///< 0: 1 / sqrt(head_dim)
  int window = 0;      ///< keys that a row sees, its own among them; 0 for all before it
  int first_key = 0;   ///< the first visible key: earlier ones are padding
  double softcap = 0;  ///< logits become softcap * tanh(logit / softcap); 0 for none
  int layer = -1;      ///< -1: not known
  std::string output;  ///< the model's own output, shaped as q: a file, or a tensor of the one input; empty for none
  std::string model, source;
};

struct ImportResult {
  CaptureProblem problem;             ///< as written
  std::vector<std::string> warnings;  ///< what looks wrong: the layout, padding, the order of rows
};

/// Writes a capture of one problem, `options.out`, holding a few MiB of the tensors at a time. Returns what it wrote.
/// Throws std::invalid_argument for options that make no sense, DataError for files that are damaged, miss a tensor, or
/// hold values that are not finite or too large for the dtype, WriteError, and Stopped if `progress` says so.
ImportResult import_capture(const ImportOptions& options, const ProgressCall& progress = {});

}  // namespace salebench
