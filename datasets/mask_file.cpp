#include "datasets/mask_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/hdf5.h"
#include "core/nearest.h"
#include "datasets/dataset.h"
#include "datasets/files/tensor_file.h"

namespace salebench {
namespace {

constexpr std::size_t kNamesTold = 10;

/// Throws an error that says what there is instead, unless the file has a mask of this name.
void check_name(const std::vector<std::string>& names, const std::string& name, const std::string& path) {
  if (std::ranges::find(names, name) != names.end()) return;
  if (names.empty()) throw DataError(fmt::format("{} holds no masks", path));
  const std::vector<std::string> told(names.begin(), names.begin() + std::min(names.size(), kNamesTold));
  throw DataError(
      fmt::format("{} has no mask '{}'{}; it has '{}'{}: name masks after their problems, or choose one with "
                  "mask: NAME",
                  path, name, names.size() > kNamesTold ? did_you_mean(name, names) : "", fmt::join(told, "', '"),
                  names.size() > told.size() ? fmt::format(" and {} more", names.size() - told.size()) : ""));
}

StoredMask read_group(const h5::Group& group) {
  const h5::Extents sizes = group.extents("bits");
  const auto number = [&](const char* name) { return group.dataset_number("bits", name, 0); };
  StoredMask mask;
  mask.block = {int(number("block_q")), int(number("block_k"))};
  mask.k_blocks = int(number("k_blocks"));
  if (sizes.size() != 3 || mask.block.q < 1 || mask.block.k < 1 || mask.k_blocks < 1 || sizes[0] > 1 << 20 ||
      sizes[1] > 1 << 30 || sizes[2] != hsize_t(mask.words()))
    throw DataError(
        fmt::format("{}bits is not a mask: uint32 [heads, q_blocks, ceil(k_blocks / 32)] with attributes "
                    "block_q, block_k and k_blocks",
                    group.where()));
  mask.heads = int(sizes[0]);
  mask.q_blocks = int(sizes[1]);
  if (const int local = int(number("window_local")); local > 0)
    mask.window = Window{int(number("window_sink")), local, int(number("window_dense_rows"))};
  mask.bits = group.read_uint32("bits");
  return mask;
}

StoredMask read_npz(const std::string& path, const std::string& name, BlockSize block) {
  const auto file = open_tensor_file(path);
  check_name(file->names(), name, path);
  const auto index = std::size_t(std::ranges::find(file->names(), name) - file->names().begin());
  const TensorInfo info = file->info(index);
  if (info.type != ElementType::kBool || info.shape.size() != 3)
    throw DataError(fmt::format(
        "{}: '{}' is not a boolean array [heads, q_blocks, k_blocks]; datasets/masks.py also takes integers "
        "0 and 1",
        path, name));
  for (const std::uint64_t size : info.shape)
    if (size < 1 || size > 1 << 30) throw DataError(fmt::format("{}: '{}' has a side of {}", path, name, size));
  StoredMask mask;
  mask.block = block;
  mask.heads = int(info.shape[0]), mask.q_blocks = int(info.shape[1]), mask.k_blocks = int(info.shape[2]);
  const auto data = file->data(index);
  std::vector<std::byte> row(info.shape[2]);
  for (std::uint64_t at = 0; at < info.shape[0] * info.shape[1]; ++at) {
    data->read(at * row.size(), row);
    mask.bits.resize(mask.bits.size() + std::size_t(mask.words()));
    std::uint32_t* const words = mask.bits.data() + at * std::size_t(mask.words());
    for (std::size_t kb = 0; kb < row.size(); ++kb)
      if (row[kb] != std::byte(0)) words[kb / 32] |= 1u << kb % 32;
  }
  return mask;
}

}  // namespace

StoredMask read_mask(const std::string& path, const std::string& name, BlockSize block) {
  if (path.ends_with(".npz")) return read_npz(path, name, block);
  try {
    const h5::File file = h5::File::open(path);
    const h5::Group masks = file.root().open_group("masks");
    check_name(masks.children(), name, path);
    return read_group(masks.open_group(name));
  } catch (const h5::Error& error) {
    throw DataError(error.what());
  }
}

}  // namespace salebench
