// Records to and from an HDF5 group of 1-D columns, one dataset a column, as pandas, h5py and xarray read them.
#pragma once

#include <string>
#include <vector>

#include "core/hdf5.h"
#include "results/schema.h"

namespace salebench {

/// Writes group `name` with one column a member. All columns share the dimension scale `cell` (cells) or `row`.
template <class Record>
void write_table(const h5::Group& parent, const std::string& name, const std::vector<Record>& records);

/// Reads a table; a column that the file lacks keeps the record's default, so that old files stay readable.
template <class Record>
std::vector<Record> read_table(const h5::Group& parent, const std::string& name);

}  // namespace salebench
