// A section of a shared library, read from its file.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>

namespace salebench {

/// A file that the dynamic loader of this program can't take; the message says what it is.
struct NoSharedLibrary : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The bytes of the first section with this name, at most `most`; nothing if there is none. No offset or count in the
/// file is trusted. Throws NoSharedLibrary.
std::optional<std::string> elf_section(const std::string& path, const std::string& name, std::size_t most);

}  // namespace salebench
