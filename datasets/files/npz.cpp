#include "datasets/files/npz.h"

#include <fmt/format.h>

#include <set>
#include <utility>

#include "core/data_error.h"
#include "datasets/files/npy.h"
#include "datasets/files/zip.h"

namespace salebench {
namespace {

class NpzFile : public TensorFile {
 public:
  explicit NpzFile(const std::string& path) : TensorFile(path), zip_(path) {
    constexpr std::string_view kSuffix = ".npy";
    std::vector<std::string> names;
    std::set<std::string> seen;
    for (std::size_t i = 0; i < zip_.entries().size(); ++i) {
      const std::string& name = zip_.entries()[i].name;
      if (!seen.insert(name).second) throw DataError(fmt::format("{}: '{}' is there twice", path, printable(name)));
      if (!name.ends_with(kSuffix)) continue;
      names.push_back(name.substr(0, name.size() - kSuffix.size()));
      entries_.push_back(i);
    }
    set_names(std::move(names));
  }

  TensorInfo info(std::size_t index) override { return open(index).second.info; }
  std::shared_ptr<ByteSource> data(std::size_t index) override {
    auto [bytes, array] = open(index);
    const std::uint64_t size = bytes->size() - array.data_begin;
    return part_of(std::move(bytes), where(index), array.data_begin, size);
  }

 private:
  std::string where(std::size_t index) const {
    return fmt::format("{}, array '{}'", path(), printable(names().at(index)));
  }
  /// The member and its header.
  std::pair<std::shared_ptr<ByteSource>, NpyArray> open(std::size_t index) const {
    const std::shared_ptr<ByteSource> bytes = zip_.open(entries_.at(index), where(index));
    NpyArray array = read_npy(*bytes, where(index));
    array.info.name = names().at(index);
    return {bytes, std::move(array)};
  }

  ZipFile zip_;
  std::vector<std::size_t> entries_;  ///< of the archive, that are tensors
};

}  // namespace

std::unique_ptr<TensorFile> open_npz(const std::string& path) {
  return std::make_unique<NpzFile>(path);
}

}  // namespace salebench
