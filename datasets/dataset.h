// Captured problems in an HDF5 file: /problems/<id>/{q,k,v} as [heads, len, head_dim], float16, or bfloat16 in uint16.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "core/data_error.h"
#include "core/hdf5.h"
#include "core/problem.h"

namespace salebench {

/// Which part of a problem a cell works on.
struct ProblemView {
  int length = 0;  ///< the first `length` tokens of those that rows see; 0 for all
  int repeat = 1;  ///< copies of the heads, to fill a machine from a capture of few heads
};

/// Which keys of a problem are loaded.
enum class LoadedKeys {
  kSeen,      ///< that some row sees
  kUnpadded,  ///< also those that the sliding window hides from all rows
};

class Dataset {
 public:
  /// Opens a capture and checks every problem's shapes. Throws DataError.
  explicit Dataset(const std::string& path);

  const std::string& path() const { return path_; }
  const std::vector<ProblemInfo>& problems() const { return problems_; }
  /// Attributes and datasets of problems that nothing here knows, so that they are not heeded.
  const std::set<std::string>& unknown_names() const { return unknown_names_; }
  /// Throws DataError with the nearest id.
  const ProblemInfo& problem(const std::string& id) const;

  /// The shape a view has. Throws DataError if the capture is shorter or no query row is left.
  static Shape shape_of(const ProblemInfo& info, const ProblemView& view);

  /// Reads a problem as float32, without the leading keys that no row sees. Throws DataError naming the first NaN or
  /// infinity, or where logits may leave float32.
  ProblemTensors load(const std::string& id, LoadedKeys keys = LoadedKeys::kSeen) const;
  /// The model's own attention output, [q_heads, q_len, head_dim] without padding, where the capture holds it; else
  /// empty.
  std::vector<float> load_output(const std::string& id) const;
  /// The type of that output, "" where there is none.
  std::string output_dtype(const std::string& id) const;

 private:
  ProblemInfo read_info(const h5::Group& group, const std::string& id) const;

  std::string path_;
  h5::File file_;
  std::vector<ProblemInfo> problems_;
  std::set<std::string> unknown_names_;
};

/// The view of a loaded problem: a copy of its prefix, with repeated heads.
ProblemTensors apply_view(const ProblemTensors& problem, const ProblemView& view);

/// 32 hex digits that identify the values, shape and attention of a problem. The same for float16 and bfloat16 files
/// that hold the same values, and for a sliding window that no row reaches as for none.
std::string fingerprint(const HostProblem& problem);
/// The same for a view of a captured problem, what no kernel does of its attention (softcap, sinks) included.
std::string fingerprint(const HostProblem& problem, const ProblemInfo& info);

}  // namespace salebench
