// The terminal, if there is one.
#pragma once

namespace salebench {

/// Columns of the terminal that a file descriptor leads to; for any other file what COLUMNS says, or 0 for no limit.
int columns_of(int descriptor);

/// Whether text there may have colours and weights: a terminal, and NO_COLOR is not set.
bool may_colour(int descriptor);

}  // namespace salebench
