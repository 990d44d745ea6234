// A model's pass over token ids, forward and back, as tests/reference/hugging_face_reference.py does it too.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/encoder.h"

namespace toller {

/// A text a line: its token ids.
inline std::vector<std::vector<std::int32_t>> read_token_lines(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<std::vector<std::int32_t>> texts;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::vector<std::int32_t>& tokens = texts.emplace_back();
    for (std::int32_t token = 0; words >> token;) tokens.push_back(token);
  }
  return texts;
}

template <class T>
struct TokenPass {
  std::vector<T> hidden;      ///< [tokens, h] of the last layer
  std::vector<T> embeddings;  ///< [texts, h]
  std::vector<T> gradient;    ///< of Σ sin(i) · embeddings[i], flat as the parameters
};

template <class T>
TokenPass<T> pass_over_tokens(const CheckpointReader& model,
                              const std::vector<std::vector<std::int32_t>>& texts) {
  const EncoderConfig& config = model.meta().encoder;
  std::vector<std::int32_t> tokens, offsets{0};
  for (const auto& text : texts) {
    tokens.insert(tokens.end(), text.begin(), text.end());
    offsets.push_back(static_cast<std::int32_t>(tokens.size()));
  }
  std::vector<std::int64_t> rows(tokens.size());
  std::iota(rows.begin(), rows.end(), 0);
  const PackedSequences sequences{.offsets = offsets.data(),
                                  .global_row = rows.data(),
                                  .token = tokens.data(),
                                  .count = std::ssize(texts),
                                  .tokens = std::ssize(tokens),
                                  .max_length = config.max_tokens(),
                                  .length_limit = config.max_tokens()};
  std::vector<T> parameters(static_cast<std::size_t>(model.table().size()));
  model.read_parameters(std::span(parameters));
  const auto ops = make_cpu_ops<T>();
  const Encoder<T> encoder(config, model.table(), *ops);
  Arena arena(*ops);
  Activations<T> kept;
  TokenPass<T> pass;
  pass.embeddings.resize(texts.size() * static_cast<std::size_t>(config.hidden_size));
  encoder.forward(parameters.data(), sequences, {}, arena, kept, pass.embeddings.data());
  const T* last = kept.layers.back().output;
  pass.hidden.assign(last, last + sequences.tokens * config.hidden_size);
  std::vector<T> slope(pass.embeddings.size());
  for (std::size_t i = 0; i < slope.size(); ++i) slope[i] = static_cast<T>(std::sin(static_cast<double>(i)));
  pass.gradient.resize(parameters.size());
  encoder.backward(parameters.data(), sequences, {}, arena, kept, slope.data(), pass.gradient.data());
  return pass;
}

}  // namespace toller
