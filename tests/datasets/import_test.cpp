// Import of .npy, .npz and .safetensors: every format, layout and type, and what is refused.
#include "datasets/import/import.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "datasets/dataset.h"
#include "tests/datasets/tensor_files.h"
#include "tests/problems.h"

namespace salebench {
namespace {

namespace fs = std::filesystem;

/// Values that float16 and bfloat16 both hold exactly.
ProblemTensors coarse_problem(const Shape& shape) {
  ProblemTensors p = make_problem(shape);
  p.scale = float(1 / std::sqrt(double(shape.head_dim)));
  for (auto* values : {&p.q, &p.k, &p.v})
    for (float& x : *values) x = std::round(x * 8) / 8;
  return p;
}

class Import : public testing::Test {
 protected:
  Import() : folder_(fs::temp_directory_path() / ("salebench_import_test_" + std::to_string(::getpid()))) {
    fs::create_directories(folder_);
  }
  ~Import() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ / name; }
  std::string write(const std::string& name, const std::string& bytes) const { return write_bytes(path(name), bytes); }

  std::vector<std::string> write_npys(const std::vector<TestTensor>& tensors, const std::string& type) const {
    std::vector<std::string> paths;
    for (const TestTensor& t : tensors) paths.push_back(write(t.name + ".npy", npy(t, type)));
    return paths;
  }

  /// Imports to out.h5 and reads that back.
  ProblemTensors import(std::vector<std::string> inputs, ImportOptions options = {}) const {
    options.inputs = std::move(inputs);
    options.out = path("out.h5");
    options.id = "p";
    options.force = true;
    import_capture(options);
    return Dataset(options.out).load("p");
  }

  /// Imports, which must throw Error with all of `says` in its message and leave nothing behind.
  template <class Error = DataError>
  void expect_refused(std::vector<std::string> inputs, const std::vector<std::string>& says,
                      ImportOptions options = {}) const {
    options.inputs = std::move(inputs);
    if (options.out.empty()) options.out = path("refused.h5");
    try {
      import_capture(options);
      ADD_FAILURE() << "imported, but should say " << says[0];
    } catch (const Error& error) {
      const std::string message = error.what();
      for (const std::string& text : says)
        EXPECT_NE(message.find(text), std::string::npos) << text << " in " << message;
      EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    }
    for (const auto& entry : fs::directory_iterator(folder_))
      EXPECT_EQ(entry.path().string().find("refused"), std::string::npos) << entry;
  }

  void expect_refused_bytes(const std::string& name, const std::string& bytes, const std::vector<std::string>& says,
                            const ImportOptions& options = {}) const {
    const std::string file = write(name, bytes);
    if (name.ends_with(".npy"))
      expect_refused({file, file, file}, says, options);
    else
      expect_refused({file}, says, options);
  }

 private:
  fs::path folder_;
};

ImportOptions with_layout(const std::string& layout, int batch = 0) {
  ImportOptions options;
  options.layout = layout;
  options.batch = batch;
  return options;
}

TEST_F(Import, EveryFormatAndTypeGivesTheSameFingerprint) {
  const ProblemTensors p = coarse_problem({4, 2, 30, 50, 16});
  const std::string expected = fingerprint(p.view());
  const auto tensors = tensors_of(p);
  for (const std::string type : {"f2", "f4", "f8", "bf16"}) {
    SCOPED_TRACE(type);
    EXPECT_EQ(fingerprint(import(write_npys(tensors, type)).view()), expected);
    EXPECT_EQ(fingerprint(import({write("a.safetensors", safetensors(tensors, type))}).view()), expected);
    for (const Zip kind : {Zip::kStored, Zip::kDeflated, Zip::kZip64})
      EXPECT_EQ(fingerprint(import({write("a.npz", npz(tensors, type, kind))}).view()), expected) << int(kind);
    EXPECT_EQ(Dataset(path("out.h5")).problem("p").dtype, type == "bf16" ? "bfloat16" : "float16");
    std::vector<std::string> singles;
    for (const TestTensor& t : tensors)
      singles.push_back(write(t.name + ".safetensors", safetensors({{"x", t.shape, t.values}}, type)));
    EXPECT_EQ(fingerprint(import(singles).view()), expected);
  }
}

TEST_F(Import, EveryLayout) {
  const ProblemTensors p = coarse_problem({4, 2, 30, 50, 16});
  for (const std::string layout : {"hld", "lhd", "bhld", "blhd"})
    for (const int batch : {0, 1}) {
      if (batch == 1 && layout[0] != 'b') continue;
      const auto tensors = tensors_of(p, layout, batch);
      for (const auto& inputs : {std::vector{write("a.npz", npz(tensors, "f4", Zip::kDeflated))},
                                 std::vector{write("a.safetensors", safetensors(tensors, "f2"))}})
        EXPECT_EQ(fingerprint(import(inputs, with_layout(layout, batch)).view()), fingerprint(p.view())) << layout;
    }
}

TEST_F(Import, TensorsOfSeveralPieces) {
  // The second has more heads than a piece has rows.
  for (const Shape& shape : {Shape{4, 2, 3000, 3000, 128}, Shape{24, 24, 2, 2, 65536}}) {
    ProblemTensors p;
    p.shape = shape;
    p.scale = float(1 / std::sqrt(double(shape.head_dim)));
    int next = 0;
    for (auto* x : {&p.q, &p.k, &p.v}) {
      x->resize(x == &p.q ? shape.q_heads * p.view().q_head_size() : shape.kv_heads * p.view().kv_head_size());
      for (float& value : *x) value = float(next++ % 2039) / 8;
    }
    for (const std::string layout : {"hld", "lhd"}) {
      const std::string file = write("a.npz", npz(tensors_of(p, layout), "f2", Zip::kDeflated));
      EXPECT_EQ(fingerprint(import({file}, with_layout(layout)).view()), fingerprint(p.view())) << layout;
    }
  }
}

TEST_F(Import, RoundsToNearestEven) {
  const ProblemTensors p = make_problem({1, 1, 20, 20, 8});
  const ProblemTensors half = import(write_npys(tensors_of(p), "f4"));
  ImportOptions options;
  options.dtype = "bfloat16";
  const ProblemTensors bfloat = import(write_npys(tensors_of(p), "f4"), options);
  for (std::size_t i = 0; i < p.q.size(); ++i) {
    EXPECT_EQ(half.q[i], half_to_float(float_to_half(p.q[i])));
    EXPECT_EQ(bfloat.q[i], bfloat16_to_float(float_to_bfloat16(p.q[i])));
  }
  // Rounded to float32 first, these would be ties, and then even.
  std::string doubles;
  for (const double x : {1 + 0x1p-11 + 0x1p-40, -1 - 0x1p-11 - 0x1p-40, 1 + 0x1p-11 - 0x1p-40, 0x1p-25 + 0x1p-60})
    doubles += le(std::bit_cast<std::uint64_t>(x));
  const std::string file =
      write("d.npy", npy_with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1, 4)}", doubles));
  EXPECT_EQ(import({file, file, file}).q, (std::vector<float>{1 + 0x1p-10f, -1 - 0x1p-10f, 1, 0x1p-24f}));
}

TEST_F(Import, WritesWhatTheOptionsSay) {
  const auto tensors = tensors_of(coarse_problem({1, 1, 20, 20, 8}));
  ImportOptions options;
  options.inputs = {write("layer10.npz", npz(tensors, "f2", Zip::kStored))};
  options.out = path("mine.h5");
  options.scale = 0.5, options.causal = false, options.layer = 10, options.model = "m", options.source = "s";
  EXPECT_EQ(import_capture(options).problems.at(0).id, "layer10");
  const ProblemInfo info = Dataset(options.out).problem("layer10");
  EXPECT_EQ(info.scale, 0.5);
  EXPECT_FALSE(info.causal);
  EXPECT_EQ(info.layer, 10);
  EXPECT_EQ(info.model + info.source, "ms");
  options.inputs = write_npys(tensors, "f2");
  options.force = true;
  EXPECT_EQ(import_capture(options).problems.at(0).id, "mine");
}

TEST_F(Import, FindsTensorsByName) {
  const ProblemTensors p = coarse_problem({1, 1, 20, 20, 8});
  auto tensors = tensors_of(p);
  const auto rename = [&](const char* q, const char* k, const char* v) {
    tensors[0].name = q, tensors[1].name = k, tensors[2].name = v;
    return write("names.npz", npz(tensors, "f2", Zip::kStored));
  };
  EXPECT_EQ(fingerprint(import({rename("query", "key", "value")}).view()), fingerprint(p.view()));
  const std::string file = rename("model.q", "model.k", "v");
  ImportOptions keys;
  keys.keys = "q=model.q,k=model.k";
  EXPECT_EQ(fingerprint(import({file}, keys).view()), fingerprint(p.view()));
  expect_refused({file}, {"names.npz has no tensor 'q' or 'query' (known: model.q, model.k, v)", "--keys q=NAME"});
  keys.keys = "q=model.qq";
  expect_refused({file}, {"did you mean 'model.q'?"}, keys);
  for (const char* text : {"q", "q=", "x=y", "q=a,q=b", "=a"}) {
    keys.keys = text;
    expect_refused<std::invalid_argument>({file}, {"--keys"}, keys);
  }
}

TEST_F(Import, NamesValuesThatCannotBeStored) {
  const ProblemTensors good = coarse_problem({2, 1, 20, 20, 8});
  for (const std::string layout : {"hld", "blhd"}) {
    const auto refused = [&](float value, const std::string& type, const std::string& dtype,
                             const std::vector<std::string>& says) {
      ProblemTensors p = good;
      p.q[(1 * 20 + 7) * 8 + 3] = value;
      ImportOptions options = with_layout(layout);
      options.dtype = dtype;
      expect_refused_bytes("a.safetensors", safetensors(tensors_of(p, layout), type), says, options);
    };
    const std::string place = "at head 1, token 7, channel 3";
    refused(std::nanf(""), "f4", "", {"tensor q holds nan", place});
    refused(-INFINITY, "bf16", "", {"tensor q holds -inf", place});
    refused(65520, "f4", "", {"tensor q holds 65520", place, "out of the range of float16", "--dtype bfloat16"});
    refused(1e6f, "bf16", "float16", {"out of the range of float16"});
    refused(std::numeric_limits<float>::max(), "f4", "bfloat16", {"out of the range of bfloat16"});
  }
  ProblemTensors p = good;
  p.v.back() = 1e6f;
  ImportOptions options;
  options.dtype = "bfloat16";
  EXPECT_EQ(import(write_npys(tensors_of(p), "f4"), options).v.back(), bfloat16_to_float(float_to_bfloat16(1e6f)));
}

TEST_F(Import, RefusesOptionsThatMakeNoSense) {
  const auto npys = write_npys(tensors_of(coarse_problem({1, 1, 20, 20, 8})), "f2");
  const auto refused = [&](const std::vector<std::string>& inputs, const std::string& says, auto change) {
    ImportOptions options;
    change(options);
    expect_refused<std::invalid_argument>(inputs, {says}, options);
  };
  const auto nothing = [](ImportOptions&) {};
  expect_refused({npys[0], npys[1]}, {"has no v"});
  refused({npys[0]}, "holds one tensor", nothing);
  refused({path("a.pt")}, "only .npy, .npz and .safetensors", nothing);
  refused(npys, "did you mean 'bhld'?", [](ImportOptions& o) { o.layout = "bhl"; });
  refused(npys, "batch 1", [](ImportOptions& o) { o.batch = 1; });
  refused(npys, "dtype is 'int8'", [](ImportOptions& o) { o.dtype = "int8"; });
  refused(npys, "scale is -1", [](ImportOptions& o) { o.scale = -1; });
  refused(npys, "id of a problem", [](ImportOptions& o) { o.id = "a/b"; });
  refused(npys, "--force overwrites it", [&](ImportOptions& o) { o.out = write("there.h5", ""); });
  refused(npys, "both input and output", [&](ImportOptions& o) { o.out = npys[0], o.force = true; });
}

TEST_F(Import, RefusesShapesThatDoNotFit) {
  const auto refused = [&](const std::string& layout, std::vector<std::vector<std::uint64_t>> shapes,
                           const std::vector<std::string>& says, int batch = 0) {
    std::vector<TestTensor> tensors;
    for (std::size_t i = 0; i < 3; ++i) {
      std::uint64_t count = 1;
      for (const std::uint64_t size : shapes[std::min(i, shapes.size() - 1)]) count *= size;
      tensors.push_back(
          {std::string(1, "qkv"[i]), shapes[std::min(i, shapes.size() - 1)], std::vector<float>(count, 1)});
    }
    expect_refused_bytes("a.npz", npz(tensors, "f2", Zip::kStored), says, with_layout(layout, batch));
  };
  refused("hld", {{1, 2, 3, 4}}, {"q is [1, 2, 3, 4]", "--layout bhld or blhd"});
  refused("bhld", {{2, 3, 4}}, {"q is [2, 3, 4]", "--layout hld or lhd"});
  refused("hld", {{2, 3}}, {"not of layout hld"});
  refused("hld", {{2, 0, 4}}, {"empty"});
  refused("hld", {{1, 1, 65537}}, {"head_dim 65537 is too large"});
  refused("bhld", {{2, 2, 3, 4}}, {"there is no batch 2"}, 2);
  refused("hld", {{3, 8, 4}, {2, 8, 4}}, {"3 query heads can't share 2 KV heads", "is the layout hld?"});
  refused("hld", {{2, 9, 4}, {2, 8, 4}}, {"q_len 9 is more than kv_len 8"});
  refused("hld", {{2, 8, 4}, {2, 8, 4}, {2, 7, 4}}, {"k and v must be alike"});
  refused("hld", {{2, 8, 5}, {2, 8, 4}}, {"same head_dim"});
}

TEST_F(Import, StopsAndLeavesNothing) {
  ImportOptions options;
  options.inputs = write_npys(tensors_of(coarse_problem({1, 1, 20, 20, 8})), "f2");
  options.out = path("stopped.h5");
  EXPECT_THROW(import_capture(options, [](double) { return false; }), Stopped);
  for (const auto& entry : fs::directory_iterator(path("")))
    EXPECT_EQ(entry.path().string().find("stopped"), std::string::npos) << entry;
}

}  // namespace
}  // namespace salebench
