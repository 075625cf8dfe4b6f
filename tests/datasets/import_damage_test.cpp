// Damaged .npy, .npz and .safetensors files: each is refused with its reason.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "datasets/dataset.h"
#include "datasets/files/tensor_file.h"
#include "tests/datasets/tensor_files.h"
#include "tests/problems.h"

namespace salebench {
namespace {

namespace fs = std::filesystem;

class Damage : public testing::Test {
 protected:
  Damage() {
    const fs::path memory = "/dev/shm";
    folder_ = (fs::is_directory(memory) && ::access(memory.c_str(), W_OK) == 0 ? memory : fs::temp_directory_path()) /
              ("salebench_import_damage_test_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  ~Damage() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ / name; }

  /// Opening or reading the file must throw a DataError of one line with `says`.
  void expect_refused(const std::string& name, const std::string& bytes, const std::string& says) const;

 private:
  fs::path folder_;
};

void Damage::expect_refused(const std::string& name, const std::string& bytes, const std::string& says) const {
  try {
    read_all(write_bytes(path(name), bytes));
    ADD_FAILURE() << "was read, but should say " << says;
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << says << " in " << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
  }
}

TEST_F(Damage, NpyHeaders) {
  const std::string good = npy(small_tensors()[0], "f4"), four(4, '\0');
  const auto refused = [&](const std::string& header, const std::string& says) {
    expect_refused("a.npy", npy_with_header(header, four), says);
  };
  refused("{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}", "Fortran order; save it with np.ascontiguousarray");
  refused("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", "big-endian (>f4)");
  refused("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "structured array");
  refused("{'descr': '<f4', 'fortran_order': False}", "missing");
  refused("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
          "'descr' is unknown or there twice");
  refused("{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", "neither True nor False");
  refused("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "no size");
  refused("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "no size");
  refused("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 2)}", "too large for any file");
  refused("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "truncated: its header tells of 8 bytes");
  refused("{'descr': '<f2', 'fortran_order': False, 'shape': (1,)}", "damaged: its header tells of 2 bytes");
  refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)", "damaged");
  refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", "text after it");
  refused("{'descr': '<f4", "no end");
  expect_refused("a.npy", "", "truncated");
  expect_refused("a.npy", good.substr(0, 40), "truncated");
  expect_refused("a.npy", "\x93NUMPX" + good.substr(6), "not a .npy");
  expect_refused("a.npy", good.substr(0, 6) + "\x09" + good.substr(7), "version 9");
  expect_refused("a.npy", good.substr(0, 8) + le(std::uint16_t(60000)) + good.substr(10), "truncated");
  expect_refused("a.npy", "\x93NUMPY\x02" + std::string(1, '\0') + le(std::uint32_t(1) << 31), "too long");
  for (const int version : {1, 2, 3}) read_all(write_bytes(path("a.npy"), npy(small_tensors()[0], "f4", version)));
  read_all(write_bytes(path("a.npy"), npy_with_header("{'shape':(1L,),\"fortran_order\":False,'descr':'|V2'}", "ab")));
}

TEST_F(Damage, SafetensorsHeaders) {
  const auto refused = [&](const std::string& header, const std::string& says) {
    expect_refused("a.safetensors", safetensors_with_header(header, "12345678"), says);
  };
  const std::string q = R"("q":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  read_all(write_bytes(path("a.safetensors"), safetensors_with_header("{" + q + "}", "12345678")));
  refused("{" + q + "," + q + "}", "tensor 'q' is there twice");
  refused("{" + q, "not JSON");
  refused("[1]", "not a JSON object");
  refused("{\"q\":" + std::string(100000, '[') + std::string(100000, ']') + "}", "nested too deep");
  refused(R"({"q":1})", "not described by an object");
  refused(R"({"q":{"shape":[2],"data_offsets":[0,8]}})", "dtype is missing");
  refused(R"({"q":{"dtype":"F32","data_offsets":[0,8]}})", "no list of sizes under shape");
  refused(R"({"q":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", "no size");
  refused(R"({"q":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", "no size");
  refused(R"({"q":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "not [begin, end]");
  refused(R"({"q":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", "its shape takes 12 bytes");
  refused(R"({"q":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}})", "too large for any file");
  refused(R"({"q":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
          "damaged: its tensors take 4 bytes, 8 are there");
  refused(R"({"q":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}})", "truncated: its tensors take 12 bytes");
  refused(R"({"q":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "overlap or leave gaps");
  expect_refused("a.safetensors", "1234", "truncated");
  expect_refused("a.safetensors", le(~std::uint64_t(0)) + "{}", "truncated");
  expect_refused("a.safetensors", safetensors_with_header("{\"a\nb\":1}", ""), "not JSON");
  expect_refused("a.safetensors", safetensors_with_header("{\"a\\nb\":1}", ""), "tensor 'a?b'");
}

TEST_F(Damage, NpzArchives) {
  for (const Zip kind : {Zip::kStored, Zip::kDeflated, Zip::kZip64}) {
    const std::string good = npz(small_tensors(), "f4", kind);
    read_all(write_bytes(path("a.npz"), good));
    const auto refused = [&](std::size_t at, const std::string& bytes, const std::string& says) {
      std::string bad = good;
      expect_refused("a.npz", bad.replace(at, bytes.size(), bytes), says);
    };
    const std::size_t central = good.find("PK\x01\x02");
    expect_refused("a.npz", good.substr(0, good.size() - 1), "does not end as a zip archive does");
    expect_refused("a.npz", "", "does not end as a zip archive does");
    refused(central - 5, "\x55", "damaged");  // data of v, against its checksum
    refused(central + 8, le(std::uint16_t(1)), "encrypted");
    refused(central + 10, le(std::uint16_t(12)), "zip method 12");
    refused(central + 16, "\x55\x55\x55\x55", "does not unpack to what was packed");
    refused(central + 28, le(std::uint16_t(60000)), "makes no sense");
    refused(0, "QQ", "not where the zip directory says");
    if (kind != Zip::kZip64) refused(good.size() - 10, le(std::uint32_t(1)), "makes no sense");  // directory's size
  }
  const TestTensor t = small_tensors()[0];
  const std::string member = npy(t, "f4");
  expect_refused("a.npz", zip({{"q.npy", member}, {"q.npy", member}}, Zip::kStored), "'q.npy' is there twice");
  expect_refused("a.npz", zip({{"q.npy", member.substr(0, 100)}}, Zip::kDeflated), "array 'q' is truncated");
  expect_refused("a.npz", zip({{"q.npy", "PK"}}, Zip::kStored), "truncated");
  // A size that the packed data don't have.
  std::string bomb = zip({{"q.npy", npy_with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,)}",
                                                    std::string(1000, '\0'))}},
                         Zip::kDeflated);
  bomb.replace(bomb.find("PK\x01\x02") + 24, 4, le(std::uint32_t(4000000128)));
  expect_refused("a.npz", bomb, "does not unpack to what was packed");
}

TEST_F(Damage, WhatIsNoFile) {
  const auto refused = [&](const std::string& name, const std::string& says) {
    try {
      open_tensor_file(path(name));
      ADD_FAILURE() << name << " was opened";
    } catch (const DataError& error) {
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
  };
  refused("none.npy", "No such file");
  fs::create_directory(path("folder.npz"));
  refused("folder.npz", "not a regular file");
  ASSERT_EQ(::mkfifo(path("pipe.safetensors").c_str(), 0600), 0);
  refused("pipe.safetensors", "not a regular file");
}

}  // namespace
}  // namespace salebench
