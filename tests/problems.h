// Small problems for tests: normal values, with sinks and locality so that selection has something to find.
#pragma once

#include <cmath>
#include <random>
#include <string>

#include "core/problem.h"

namespace salebench {

/// Seeded values. structured: the first keys and the latest ones attract the queries, as in real models.
inline ProblemTensors make_problem(const Shape& shape, std::uint64_t seed = 7, bool structured = true) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  ProblemTensors p;
  p.shape = shape;
  p.scale = 1 / std::sqrt(float(shape.head_dim));
  p.q.resize(std::size_t(shape.q_heads) * shape.q_len * shape.head_dim);
  p.k.resize(std::size_t(shape.kv_heads) * shape.kv_len * shape.head_dim);
  p.v.resize(p.k.size());
  for (auto* values : {&p.q, &p.k, &p.v})
    for (float& value : *values) value = normal(random);
  if (!structured) return p;
  const int dim = shape.head_dim;
  for (int head = 0; head < shape.q_heads; ++head)
    for (int row = 0; row < shape.q_len; ++row) {
      float* q = &p.q[(std::size_t(head) * shape.q_len + row) * dim];
      const int position = shape.offset() + row;
      q[0] += 3;  // what the sink keys answer to
      for (int d = 1; d < dim; ++d) q[d] += std::cos(0.02f * float(position) + float(d));
    }
  for (int head = 0; head < shape.kv_heads; ++head)
    for (int key = 0; key < shape.kv_len; ++key) {
      float* k = &p.k[(std::size_t(head) * shape.kv_len + key) * dim];
      k[0] += key < 8 ? 6.0f : 1.0f;
      for (int d = 1; d < dim; ++d) k[d] += std::cos(0.02f * float(key) + float(d));
    }
  return p;
}

inline std::string shape_text(const Shape& s) {
  return "heads " + std::to_string(s.q_heads) + "/" + std::to_string(s.kv_heads) + " q_len " + std::to_string(s.q_len) +
         " kv_len " + std::to_string(s.kv_len) + " head_dim " + std::to_string(s.head_dim);
}

/// ||a - b|| / ||b||
template <class A, class B>
double relative_l2(const A& a, const B& b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += (double(a[i]) - double(b[i])) * (double(a[i]) - double(b[i]));
    size += double(b[i]) * double(b[i]);
  }
  return std::sqrt(difference / size);
}

}  // namespace salebench
