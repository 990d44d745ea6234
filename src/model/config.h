// Shape and choices of an encoder: BERT's, and what its descendants have otherwise.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace toller {

/// As Hugging Face's model_type calls them. They compute the same but for the fields of EncoderConfig; what
/// their files look like is in pretrained_architecture.h.
enum class Architecture { kBert, kDistilBert, kRoberta, kXlmRoberta };

std::string architecture_name(Architecture architecture);
/// Throws Error that names `what` and the architectures there are.
Architecture architecture_from_name(const std::string& what, const std::string& name);

/// What a text is; where towers are separate, which of them encodes it. Of scored pairs, first sentences count
/// as queries and second ones as documents.
enum class Side { kQueries, kDocuments };

/// queries or documents; UsageError that names `what` otherwise.
Side side_from_name(const std::string& what, const std::string& name);

enum class Pooling {
  kMean,  ///< mean over all tokens of the text, special tokens included
  kCls,   ///< first token
  kLast,  ///< last token
};

Pooling pooling_from_name(const std::string& name);
std::string pooling_name(Pooling pooling);

struct EncoderConfig {
  Architecture architecture = Architecture::kBert;
  std::int32_t vocabulary_size = 0;
  std::int32_t hidden_size = 0;
  std::int32_t layers = 0;
  std::int32_t heads = 0;
  std::int32_t intermediate_size = 0;
  std::int32_t max_positions = 512;       ///< rows of the position table
  std::int32_t position_offset = 0;       ///< row of a text's first token; RoBERTa: id of the padding + 1
  std::int32_t type_vocabulary_size = 2;  ///< DistilBERT: 0, no such table
  double layer_norm_eps = 1e-12;
  double initializer_range = 0.02;
  double hidden_dropout = 0.1;     ///< embeddings, attention output and feed-forward output
  double attention_dropout = 0.1;  ///< attention probabilities
  Pooling pooling = Pooling::kMean;
  bool normalize = true;  ///< embeddings of unit length: scores are cosines
  /// Queries and documents are encoded with parameters of their own, of the same shape.
  bool separate_towers = false;

  std::int32_t head_size() const { return hidden_size / heads; }
  /// The longest text that the encoder takes, special tokens included.
  std::int32_t max_tokens() const { return max_positions - position_offset; }
  /// Throws Error naming the field: sizes below 1, heads that do not divide hidden_size, rates outside [0,
  /// 1), positions and types that are not the architecture's.
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
