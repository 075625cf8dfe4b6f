// Settings between two that were measured.
#pragma once

#include "results/places.h"
#include "results/rank.h"

namespace salebench {

/// Adds to the settings of a method at a problem what lies between two of them that differ in the knob alone, side by
/// side in it, of which one reaches the target and the other does not: where the figure is just the target. Logarithms
/// of error (or of 1 - recall), time, speedup and density change alike between the two.
void add_between(const RankTarget& target, std::vector<TimedSetting>& settings);

}  // namespace salebench
