#include "model/bert_config.h"

#include <nlohmann/json.hpp>

#include "error.h"

namespace toller {

EncoderConfig encoder_from_bert_config(const JsonObject& config) {
  const std::string model_type = config.text("model_type", "");
  if (model_type != "bert") {
    fail("{}: field model_type is '{}', which is not supported; bert is", config.origin(), model_type);
  }
  // What would be calculated otherwise.
  config.require("hidden_act", "gelu");
  config.require("position_embedding_type", "absolute");
  config.require("is_decoder", false);
  config.require("is_encoder_decoder", false);
  config.require("add_cross_attention", false);
  config.require("pruned_heads", nlohmann::json::object());
  config.require_absent("auto_map");
  config.require_absent("quantization_config");

  EncoderConfig encoder;
  encoder.vocabulary_size = config.count("vocab_size");
  encoder.hidden_size = config.count("hidden_size");
  encoder.layers = config.count("num_hidden_layers");
  encoder.heads = config.count("num_attention_heads");
  encoder.intermediate_size = config.count("intermediate_size");
  encoder.max_positions = config.count("max_position_embeddings", encoder.max_positions);
  encoder.type_vocabulary_size = config.count("type_vocab_size", encoder.type_vocabulary_size);
  encoder.layer_norm_eps = config.number("layer_norm_eps", encoder.layer_norm_eps);
  encoder.initializer_range = config.number("initializer_range", encoder.initializer_range);
  encoder.hidden_dropout = config.number("hidden_dropout_prob", encoder.hidden_dropout);
  encoder.attention_dropout = config.number("attention_probs_dropout_prob", encoder.attention_dropout);
  try {
    encoder.validate();
  } catch (const Error& problem) {
    fail("{}: {}", config.origin(), problem.what());
  }
  return encoder;
}

nlohmann::ordered_json bert_config_from_encoder(const EncoderConfig& encoder, const std::string& dtype) {
  return {{"architectures", {"BertModel"}},
          {"model_type", "bert"},
          {"vocab_size", encoder.vocabulary_size},
          {"hidden_size", encoder.hidden_size},
          {"num_hidden_layers", encoder.layers},
          {"num_attention_heads", encoder.heads},
          {"intermediate_size", encoder.intermediate_size},
          {"hidden_act", "gelu"},
          {"max_position_embeddings", encoder.max_positions},
          {"position_embedding_type", "absolute"},
          {"type_vocab_size", encoder.type_vocabulary_size},
          {"layer_norm_eps", encoder.layer_norm_eps},
          {"initializer_range", encoder.initializer_range},
          {"hidden_dropout_prob", encoder.hidden_dropout},
          {"attention_probs_dropout_prob", encoder.attention_dropout},
          // Both names that transformers has had for it.
          {"torch_dtype", dtype},
          {"dtype", dtype}};
}

}  // namespace toller
