#include "harness/support/elf_section.h"

#include <elf.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <type_traits>

namespace salebench {
namespace {

class ElfFile {
 public:
  explicit ElfFile(const std::string& path) : file_(path, std::ios::binary) {
    std::error_code none;
    size_ = std::filesystem::file_size(path, none);
    if (none || !file_) throw NoSharedLibrary("cannot be read");
    if (size_ < sizeof(header_)) throw NoSharedLibrary("is no shared library");
    header_ = read<Elf64_Ehdr>(0);
    if (std::memcmp(header_.e_ident, ELFMAG, SELFMAG) != 0) throw NoSharedLibrary("is no shared library");
  }

  const Elf64_Ehdr& header() const { return header_; }

  /// Section number i of the table.
  Elf64_Shdr section(std::uint64_t i) {
    if (header_.e_shentsize != sizeof(Elf64_Shdr)) throw NoSharedLibrary("is a damaged shared library");
    return read<Elf64_Shdr>(sum(header_.e_shoff, i * sizeof(Elf64_Shdr)));  // i is below 2^16
  }

  /// `size` bytes from `offset` on.
  std::string bytes(std::uint64_t offset, std::uint64_t size) {
    if (offset > size_ || size > size_ - offset) throw NoSharedLibrary("is a damaged shared library");
    std::string text(size, '\0');
    file_.seekg(std::streamoff(offset));
    if (!file_.read(text.data(), std::streamsize(size))) throw NoSharedLibrary("cannot be read");
    return text;
  }

  /// Of two numbers that lie within the file, so that it can't wrap around.
  std::uint64_t sum(std::uint64_t a, std::uint64_t b) const {
    if (a > size_ || b > size_) throw NoSharedLibrary("is a damaged shared library");
    return a + b;
  }

 private:
  template <class Record>
  Record read(std::uint64_t offset) {
    static_assert(std::is_trivially_copyable_v<Record>);
    Record record;
    const std::string text = bytes(offset, sizeof(record));
    std::memcpy(&record, text.data(), sizeof(record));
    return record;
  }

  std::ifstream file_;
  std::uint64_t size_ = 0;
  Elf64_Ehdr header_{};
};

}  // namespace

std::optional<std::string> elf_section(const std::string& path, const std::string& name, std::size_t most) {
  ElfFile file(path), self("/proc/self/exe");
  const Elf64_Ehdr &header = file.header(), &own = self.header();
  if (header.e_ident[EI_CLASS] != own.e_ident[EI_CLASS] || header.e_ident[EI_DATA] != own.e_ident[EI_DATA] ||
      header.e_machine != own.e_machine)
    throw NoSharedLibrary("is for another kind of processor");
  if (header.e_type != ET_DYN) throw NoSharedLibrary("is no shared library");
  if (header.e_shnum == 0) return std::nullopt;
  const Elf64_Shdr names = file.section(header.e_shstrndx);
  for (std::uint64_t i = 0; i < header.e_shnum; ++i) {
    const Elf64_Shdr section = file.section(i);
    if (std::uint64_t(section.sh_name) + name.size() + 1 > names.sh_size) continue;
    const std::string found = file.bytes(file.sum(names.sh_offset, section.sh_name), name.size() + 1);
    if (!found.starts_with(name) || found.back() != '\0' || section.sh_type != SHT_PROGBITS) continue;
    return file.bytes(section.sh_offset, std::min<std::uint64_t>(section.sh_size, most));
  }
  return std::nullopt;
}

}  // namespace salebench
