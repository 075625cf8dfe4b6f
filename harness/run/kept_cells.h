// What a run that goes on should say of the finished cells that it keeps.
#pragma once

#include <set>
#include <string>

#include "results/schema.h"

namespace salebench {

/// Cells that were measured on another machine, or by other code, than this program would measure them.
class KeptCells {
 public:
  void add(const CellRecord& cell);
  /// Warns of each kind, with how many there are and one by name.
  void warn() const;

 private:
  std::set<std::string> stale_, elsewhere_, rebuilt_;
};

}  // namespace salebench
