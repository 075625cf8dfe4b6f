// Dense causal attention on request, for scripts that time it in turn with other libraries. Reads float32 tensors
// q [q_heads, length, dim], k and v [kv_heads, length, dim] from one raw file, in that order. Each line on standard
// input asks for one run, whose seconds it prints; at the end of input it writes the output beside the file, as
// FILE.out. Usage: salebench_attention_runner FILE q_heads kv_heads length dim
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/simd.h"

namespace salebench {
namespace {

void read_floats(std::ifstream& in, std::vector<float>& values, std::size_t count) {
  values.resize(count);
  in.read(reinterpret_cast<char*>(values.data()), std::streamsize(count * sizeof(float)));
  if (!in) throw std::runtime_error("the tensor file is too short");
}

void run(const std::string& file, const Shape& shape) {
  shape.check();
  ProblemTensors p;
  p.shape = shape;
  p.scale = 1 / std::sqrt(float(shape.head_dim));
  std::ifstream in(file, std::ios::binary);
  const std::size_t rows = std::size_t(shape.q_len) * shape.head_dim;
  read_floats(in, p.q, shape.q_heads * rows);
  read_floats(in, p.k, shape.kv_heads * rows);
  read_floats(in, p.v, shape.kv_heads * rows);
  AttentionResult out(shape);
  std::cout << cpu::simd_name() << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const auto start = std::chrono::steady_clock::now();
    cpu::dense_attention(p.view(), out.view());
    std::cout << std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() << std::endl;
  }
  std::ofstream(file + ".out", std::ios::binary)
      .write(reinterpret_cast<const char*>(out.output.data()), std::streamsize(out.output.size() * sizeof(float)));
}

}  // namespace
}  // namespace salebench

int main(int argc, char** argv) {
  try {
    if (argc != 6) throw std::invalid_argument("arguments: FILE q_heads kv_heads length dim");
    if (const char* simd = std::getenv("SALEBENCH_SIMD")) salebench::cpu::set_simd(simd);
    const int length = std::stoi(argv[4]);
    salebench::run(argv[1], {std::stoi(argv[2]), std::stoi(argv[3]), length, length, std::stoi(argv[5])});
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "salebench_attention_runner: %s\n", error.what());
    return 1;
  }
}
