// Writes captures piece by piece, so that a file may be larger than memory.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "core/hdf5.h"
#include "core/problem.h"

namespace salebench {

/// What is written beside the tensors of a problem. Empty texts and a layer of -1 are left out.
struct CaptureProblem {
  std::string id;
  Shape shape;
  bool causal = true;
  double scale = 0;               ///< 0: 1 / sqrt(head_dim)
  std::string dtype = "float16";  ///< or "bfloat16"
  int window = 0;                 ///< keys that a row sees, its own among them; 0 for all before it
  int first_key = 0;              ///< the first visible key: earlier ones are padding
  double softcap = 0;             ///< of the logits; 0 for none
  int layer = -1;
  bool has_output = false;                   ///< whether the model's own output is written too, shaped as q
  std::map<std::string, std::string> texts;  ///< model, prompt, source, ...
};

/// One capture. The file appears under its name when finish() is called; without that nothing is left behind.
class CaptureWriter {
 public:
  /// append: a capture of that name, if there is one, stays with its problems. Throws WriteError, DataError if the file
  /// that is there is no capture.
  explicit CaptureWriter(std::string path, bool append = false);
  ~CaptureWriter();
  CaptureWriter(const CaptureWriter&) = delete;
  CaptureWriter& operator=(const CaptureWriter&) = delete;

  /// Attributes of the whole file.
  void set_attribute(const std::string& name, const std::string& value);
  /// Starts a problem; its rows follow.
  void begin(const CaptureProblem& problem);
  /// Rows [first, first + bits / head_dim) of a head of tensor "q", "k", "v" or "output" of the problem begun last, in
  /// its dtype.
  void write_rows(const std::string& tensor, int head, int first, std::span<const std::uint16_t> bits);
  /// Completes the file. Throws WriteError.
  void finish();

 private:
  std::string path_, temporary_;
  std::unique_ptr<h5::File> file_;
  std::unique_ptr<h5::Group> problem_;
};

/// float32 values as the bits of the dtype, "float16" or "bfloat16", rounded to nearest even.
std::vector<std::uint16_t> to_16bit(std::span<const float> values, const std::string& dtype);

}  // namespace salebench
