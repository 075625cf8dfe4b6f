#include "kernels/cpu/amx/products.h"

#include "kernels/cpu/amx/pack.h"

namespace salebench::cpu {
namespace {

constexpr int kWeightPartBytes = 2 * kTileBytes, kWeightBytes = 2 * kWeightPartBytes;  // of a panel

/// Adds the products as one chain.
void add_chain(std::vector<TileStep>& steps, TileStep::Begin begin, const std::vector<TileStep>& products) {
  for (const TileStep& product : products) steps.push_back(product);
  steps[steps.size() - products.size()].begin = begin;
  steps.back().end = true;
}

void write_scores(const TilePrograms::Key& key, std::vector<TileStep>& scores) {
  const int part_bytes = 2 * key.depth_tiles * kTileBytes;
  std::vector<TileStep> products;
  scores.clear();
  for (int half = 0; half < 2; ++half) {
    products.clear();
    for (int order = 2; order >= 0; --order)  // the smallest products first; those below 2^-24 are left out
      for (int k = 0; k < key.key_parts; ++k)
        for (int q = 0; q < key.query_parts; ++q)
          for (int step = 0; step < key.depth_tiles && k + q == order; ++step)
            products.push_back({k * part_bytes + step * 2 * kTileBytes,
                                ((q * key.depth_tiles + step) * 2 + half) * kTileBytes, half * 64});
    add_chain(scores, TileStep::Begin::zero, products);
  }
}

/// V^T P^T of `count` panels: the high and the low part of the weights, and the high part with the second part of V.
void write_outputs(const TilePrograms::Key& key, int count, std::vector<TileStep>& steps) {
  const int part_bytes = 2 * key.depth_tiles * kTileBytes;
  std::vector<TileStep> products;
  steps.clear();
  for (int block = 0; block < key.depth_tiles; ++block)
    for (int half = 0; half < 2; ++half) {
      products.clear();
      for (int panel = 0; panel < count; ++panel) {
        const int values = block * 2 * kTileBytes, weights = panel * kWeightBytes + half * kTileBytes;
        const int c = block * kAmxDepth * kAmxGroup * int(sizeof(float)) + half * 64;
        products.push_back({values, weights, c, std::uint8_t(panel)});
        products.push_back({values, weights + kWeightPartBytes, c, std::uint8_t(panel), true});
        if (key.value_parts > 1) products.push_back({values + part_bytes, weights, c, std::uint8_t(panel)});
      }
      add_chain(steps, TileStep::Begin::load, products);
    }
}

}  // namespace

void TilePrograms::build(const Key& wanted) {
  if (wanted == key) return;
  key = wanted;
  write_scores(key, scores);
  for (int count = 1; count <= int(outputs.size()); ++count) write_outputs(key, count, outputs[count - 1]);
}

}  // namespace salebench::cpu
