// Shape and choices of an encoder: BERT's, in Hugging Face's field names.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace toller {

enum class Pooling {
  kMean,  ///< mean over all tokens of the text, special tokens included
  kCls,   ///< first token
  kLast,  ///< last token
};

Pooling pooling_from_name(const std::string& name);
std::string pooling_name(Pooling pooling);

struct EncoderConfig {
  std::int32_t vocabulary_size = 0;
  std::int32_t hidden_size = 0;
  std::int32_t layers = 0;
  std::int32_t heads = 0;
  std::int32_t intermediate_size = 0;
  std::int32_t max_positions = 512;
  std::int32_t type_vocabulary_size = 2;
  double layer_norm_eps = 1e-12;
  double initializer_range = 0.02;
  double hidden_dropout = 0.1;     ///< embeddings, attention output and feed-forward output
  double attention_dropout = 0.1;  ///< attention probabilities
  Pooling pooling = Pooling::kMean;
  bool normalize = true;  ///< embeddings of unit length: scores are cosines

  std::int32_t head_size() const { return hidden_size / heads; }
  /// Throws Error naming the field: sizes below 1, heads that do not divide hidden_size, rates outside [0,
  /// 1).
  void validate() const;
};

/// tiny (2 layers, 128), mini (4, 256), minilm (6, 384, 12 heads, 1536), base (12, 768, 3072).
/// The vocabulary size comes from the tokenizer. Throws UsageError for an unknown name.
EncoderConfig preset_config(const std::string& name);
std::vector<std::string> preset_names();

nlohmann::json to_json(const EncoderConfig& config);
/// Checks types and calls validate(); `origin` names the source in errors. Unknown fields are errors.
EncoderConfig encoder_config_from_json(const nlohmann::json& json, const std::string& origin);

}  // namespace toller
