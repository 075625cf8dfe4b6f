// `salebench init`: a config to begin with, for captures that one has.
#pragma once

#include <string>
#include <vector>

namespace salebench {

/// A commented config that lies in `folder` and sweeps captures: the methods that most comparisons begin with, and all
/// others as comments, each with the typical values of its knob; those that can't run these problems say why. Throws
/// DataError for what is no capture.
std::string first_config(const std::vector<std::string>& captures, const std::string& folder);

}  // namespace salebench
