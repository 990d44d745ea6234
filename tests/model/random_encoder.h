// Random encoders and packed batches for the tests of the model.
#pragma once

#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "model/encoder.h"

namespace toller {

inline EncoderConfig small_config() {
  EncoderConfig config;
  config.vocabulary_size = 53;
  config.hidden_size = 12;
  config.layers = 2;
  config.heads = 3;
  config.intermediate_size = 20;
  config.max_positions = 512;
  config.hidden_dropout = 0.15;
  config.attention_dropout = 0.2;
  return config;
}

/// Sequences of the given lengths with random tokens; global rows start at `first_row`.
struct RandomPack {
  RandomPack(const std::vector<std::int32_t>& lengths, const EncoderConfig& config,
             std::int64_t first_row = 0, unsigned seed = 3) {
    std::mt19937 generator(seed);
    std::uniform_int_distribution<std::int32_t> token(0, config.vocabulary_size - 1);
    offsets.push_back(0);
    for (const std::int32_t length : lengths) offsets.push_back(offsets.back() + length);
    for (std::int32_t i = 0; i < offsets.back(); ++i) tokens.push_back(token(generator));
    rows.resize(tokens.size());
    std::iota(rows.begin(), rows.end(), first_row);
    sequences = {.offsets = offsets.data(),
                 .global_row = rows.data(),
                 .token = tokens.data(),
                 .count = static_cast<std::int64_t>(lengths.size()),
                 .tokens = static_cast<std::int64_t>(tokens.size()),
                 .max_length = *std::max_element(lengths.begin(), lengths.end()),
                 .length_limit = config.max_tokens()};
  }
  RandomPack(const RandomPack&) = delete;
  RandomPack& operator=(const RandomPack&) = delete;

  std::vector<std::int32_t> offsets, tokens;
  std::vector<std::int64_t> rows;
  PackedSequences sequences;
};

/// Parameters with every tensor random (biases and gains too, so that no gradient path hides behind a zero).
template <class T>
std::vector<T> random_parameters(const ParameterTable& table, unsigned seed = 5) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0, 0.3);
  std::vector<T> parameters(static_cast<std::size_t>(table.size()));
  for (T& value : parameters) value = static_cast<T>(normal(generator));
  for (const TensorView& tensor : table.tensors()) {
    if (tensor.name.find("LayerNorm.weight") == std::string::npos) continue;
    for (std::int64_t i = 0; i < tensor.size; ++i) parameters[tensor.offset + i] += T{1};
  }
  return parameters;
}

template <class T>
std::vector<T> random_values(std::size_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  std::vector<T> values(n);
  for (T& value : values) value = static_cast<T>(normal(generator));
  return values;
}

}  // namespace toller
