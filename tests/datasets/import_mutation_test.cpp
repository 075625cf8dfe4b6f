// Whatever the bytes of a .npy, .npz or .safetensors file, it is read or refused: no crash, no hang, and no memory that
// the file does not account for. The sanitizers of the dev preset watch for reads out of bounds.
#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <new>
#include <random>

#include "datasets/dataset.h"
#include "datasets/import/import.h"
#include "tests/datasets/tensor_files.h"

namespace {

// Bytes that operator new has given out, now and at most. The tests use one thread.
std::size_t live_bytes = 0, peak_bytes = 0;

}  // namespace

void* operator new(std::size_t size) {
  void* p = std::malloc(size > 0 ? size : 1);
  if (p == nullptr) throw std::bad_alloc();
  live_bytes += malloc_usable_size(p);
  peak_bytes = std::max(peak_bytes, live_bytes);
  return p;
}

void operator delete(void* p) noexcept {
  if (p != nullptr) live_bytes -= malloc_usable_size(p);
  std::free(p);
}

void operator delete(void* p, std::size_t) noexcept {
  operator delete(p);
}

namespace salebench {
namespace {

namespace fs = std::filesystem;

constexpr int kCases = 10000;                 // of each kind
constexpr int kImportsOneIn = 4;              // of these, the rest is only read
constexpr std::size_t kMostMemory = 1 << 20;  // the files take a few KiB

/// Changes bytes the way disks, transfers and attackers do. Seeded.
class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}

  std::size_t below(std::size_t n) { return n == 0 ? 0 : std::size_t(random_() % n); }

  std::string mutated(std::string bytes) {
    for (std::size_t i = 0, changes = 1 + below(3); i < changes; ++i) change(bytes);
    return bytes;
  }

 private:
  void change(std::string& bytes) {
    const std::size_t at = below(bytes.size());
    switch (below(8)) {
      case 0:
        if (!bytes.empty()) bytes[at] = char(bytes[at] ^ 1 << below(8));
        break;
      case 1:
        if (!bytes.empty()) bytes[at] = char(below(256));
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        for (std::size_t i = 1 + below(16); i > 0; --i)
          bytes.insert(bytes.begin() + std::ptrdiff_t(at), char(below(256)));
        break;
      case 4:
        bytes.erase(at, 1 + below(16));
        break;
      case 5:
        bytes.insert(at, bytes.substr(below(bytes.size()), 1 + below(64)));
        break;
      case 6:
        edit_decimal(bytes);
        break;
      default:
        edit_binary(bytes);
    }
  }

  /// Replaces a number of a text header.
  void edit_decimal(std::string& bytes) {
    static const std::array<const char*, 12> kNumbers = {"0",
                                                         "1",
                                                         "-1",
                                                         "3",
                                                         "65536",
                                                         "4294967295",
                                                         "4294967296",
                                                         "2305843009213693952",
                                                         "9223372036854775807",
                                                         "18446744073709551615",
                                                         "18446744073709551616",
                                                         "1e9"};
    const std::size_t begin = bytes.find_first_of("0123456789", below(bytes.size()));
    if (begin == std::string::npos) return;
    const std::size_t end = std::min(bytes.find_first_not_of("0123456789", begin), bytes.size());
    bytes.replace(begin, end - begin, kNumbers[below(kNumbers.size())]);
  }

  /// Overwrites 2, 4 or 8 bytes by a number that is likely to matter; often where zip keeps its fields.
  void edit_binary(std::string& bytes) {
    const std::array<std::uint64_t, 8> numbers = {0,
                                                  1,
                                                  ~std::uint64_t(0),
                                                  std::uint64_t(1) << 63,
                                                  0x7fffffff,
                                                  bytes.size(),
                                                  bytes.size() - 1,
                                                  below(bytes.size())};
    const std::uint64_t number = numbers[below(numbers.size())];
    const std::size_t size = std::size_t(2) << below(3);
    std::size_t at = below(bytes.size());
    if (const std::size_t record = bytes.find("PK", at); below(2) == 0 && record != std::string::npos)
      at = record + below(60);
    if (at + size <= bytes.size()) bytes.replace(at, size, le(number).substr(0, size));
  }

  std::mt19937_64 random_;
};

struct Outcomes {
  int read = 0, refused = 0;
};

/// Reads or imports every file that `make` gives, which must do so or throw DataError, within the memory allowed.
Outcomes try_all(const std::string& file, const std::function<std::string()>& make, const ImportOptions& options) {
  Outcomes outcomes;
  for (int i = 0; i < kCases; ++i) {
    const std::string bytes = make();
    write_bytes(file, bytes);
    const std::size_t before = live_bytes;
    peak_bytes = live_bytes;
    try {
      if (i % kImportsOneIn == 0)
        import_capture(options);
      else
        read_all(file);
      ++outcomes.read;
    } catch (const DataError&) {
      ++outcomes.refused;
    }
    EXPECT_LE(peak_bytes - before, kMostMemory) << "case " << i;
    if (testing::Test::HasFailure()) break;
  }
  return outcomes;
}

class Mutations : public testing::Test {
 protected:
  Mutations() {
    const fs::path memory = "/dev/shm";
    folder_ = (fs::is_directory(memory) && ::access(memory.c_str(), W_OK) == 0 ? memory : fs::temp_directory_path()) /
              ("salebench_import_mutation_test_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  ~Mutations() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ / name; }

  void check(const std::vector<std::string>& inputs, const std::function<std::string()>& make) {
    ImportOptions options;
    options.inputs = inputs;
    options.out = path("out.h5");
    options.force = true;
    const Outcomes outcomes = try_all(inputs[0], make, options);
    // Both happen, else the mutations are too tame or too wild to tell anything.
    EXPECT_GT(outcomes.read, kCases / 100);
    EXPECT_GT(outcomes.refused, kCases / 5);
    RecordProperty("read", outcomes.read);
    RecordProperty("refused", outcomes.refused);
  }

  Mutator mutate_{20240607};
  const std::array<std::string, 4> types_ = {"f2", "bf16", "f4", "f8"};

 private:
  fs::path folder_;
};

TEST_F(Mutations, Npy) {
  const auto tensors = small_tensors();
  std::vector<std::string> inputs;
  for (const TestTensor& t : tensors) inputs.push_back(write_bytes(path(t.name + ".npy"), npy(t, "f2")));
  check(inputs, [&] { return mutate_.mutated(npy(tensors[0], types_[mutate_.below(4)], int(1 + mutate_.below(3)))); });
}

TEST_F(Mutations, Npz) {
  const auto tensors = small_tensors();
  check({path("a.npz")}, [&] {
    const auto kind = Zip(mutate_.below(3));
    const std::string type = types_[mutate_.below(4)];
    if (mutate_.below(2) == 0) return mutate_.mutated(npz(tensors, type, kind));
    // A sound archive of an unsound array: the checksum does not protect the .npy header here.
    std::vector<std::pair<std::string, std::string>> files;
    for (const TestTensor& t : tensors) files.emplace_back(t.name + ".npy", npy(t, type));
    std::string& array = files[mutate_.below(3)].second;
    array = mutate_.mutated(array);
    return zip(files, kind);
  });
}

TEST_F(Mutations, Safetensors) {
  const auto tensors = small_tensors();
  check({path("a.safetensors")}, [&] { return mutate_.mutated(safetensors(tensors, types_[mutate_.below(4)])); });
}

}  // namespace
}  // namespace salebench
