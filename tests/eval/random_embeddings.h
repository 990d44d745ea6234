// Embeddings with few distinct integer values: inner products are exact, and equal ones are frequent.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace toller {

inline std::vector<float> random_embeddings(std::int64_t rows, std::int64_t dimension, std::uint32_t seed) {
  std::mt19937 generator(seed);
  std::uniform_int_distribution<int> value(-2, 2);
  std::vector<float> embeddings(rows * dimension);
  for (float& element : embeddings) element = static_cast<float>(value(generator));
  return embeddings;
}

inline float inner_product(const std::vector<float>& a, std::int64_t row_a, const std::vector<float>& b,
                           std::int64_t row_b, std::int64_t dimension) {
  float sum = 0;
  for (std::int64_t i = 0; i < dimension; ++i) sum += a[row_a * dimension + i] * b[row_b * dimension + i];
  return sum;
}

}  // namespace toller
