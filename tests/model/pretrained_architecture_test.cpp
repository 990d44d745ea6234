// config.json and the names of tensors, architecture by architecture.
#include "model/pretrained_architecture.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "temporary_folder.h"

namespace toller {
namespace {

using Json = nlohmann::json;

Json small() {
  return {{"model_type", "bert"},
          {"vocab_size", 30},
          {"hidden_size", 12},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 3},
          {"intermediate_size", 20},
          {"max_position_embeddings", 9},
          {"type_vocab_size", 1},
          {"layer_norm_eps", 1e-6},
          {"initializer_range", 0.03},
          {"hidden_dropout_prob", 0.2},
          {"attention_probs_dropout_prob", 0.0},
          {"hidden_act", "gelu"},
          {"position_embedding_type", "absolute"},
          {"pad_token_id", 0}};
}

/// xlm-roberta too, but for the name.
Json small_roberta() {
  Json config = small();
  config["model_type"] = "roberta";
  config["max_position_embeddings"] = 14;
  config["pad_token_id"] = 1;
  return config;
}

Json small_distilbert() {
  return {{"model_type", "distilbert"},
          {"vocab_size", 30},
          {"dim", 12},
          {"n_layers", 2},
          {"n_heads", 3},
          {"hidden_dim", 20},
          {"max_position_embeddings", 9},
          {"sinusoidal_pos_embds", true},
          {"initializer_range", 0.03},
          {"dropout", 0.2},
          {"attention_dropout", 0.0},
          {"activation", "gelu"},
          {"pad_token_id", 0}};
}

EncoderConfig encoder_of(const Json& config) {
  return encoder_from_pretrained_config(JsonObject(config, "config.json"));
}

std::string message_with(Json config, const char* field, const Json& value) {
  config[field] = value;
  return message_of([&] { encoder_of(config); });
}
std::string message_with(const char* field, const Json& value) {
  return message_with(small(), field, value);
}

TEST(PretrainedConfig, BecomesAnEncoder) {
  const EncoderConfig encoder = encoder_of(small());
  EXPECT_EQ(encoder.vocabulary_size, 30);
  EXPECT_EQ(encoder.hidden_size, 12);
  EXPECT_EQ(encoder.layers, 2);
  EXPECT_EQ(encoder.heads, 3);
  EXPECT_EQ(encoder.intermediate_size, 20);
  EXPECT_EQ(encoder.max_positions, 9);
  EXPECT_EQ(encoder.type_vocabulary_size, 1);
  EXPECT_EQ(encoder.layer_norm_eps, 1e-6);
  EXPECT_EQ(encoder.initializer_range, 0.03);
  EXPECT_EQ(encoder.hidden_dropout, 0.2);
  EXPECT_EQ(encoder.attention_dropout, 0);
}

TEST(PretrainedConfig, AbsentFieldsAreTransformersDefaults) {
  Json config = small();
  for (const char* field : {"max_position_embeddings", "type_vocab_size", "layer_norm_eps",
                            "hidden_dropout_prob", "attention_probs_dropout_prob"}) {
    config.erase(field);
  }
  const EncoderConfig encoder = encoder_of(config);
  EXPECT_EQ(encoder.max_positions, 512);
  EXPECT_EQ(encoder.type_vocabulary_size, 2);
  EXPECT_EQ(encoder.layer_norm_eps, 1e-12);
  EXPECT_EQ(encoder.hidden_dropout, 0.1);
  EXPECT_EQ(encoder.attention_dropout, 0.1);
}

TEST(PretrainedConfig, RobertaCountsPositionsFromThePadding) {
  for (const char* name : {"roberta", "xlm-roberta"}) {
    Json config = small_roberta();
    config["model_type"] = name;
    const EncoderConfig encoder = encoder_of(config);
    EXPECT_EQ(architecture_name(encoder.architecture), name);
    EXPECT_EQ(encoder.max_positions, 14);
    EXPECT_EQ(encoder.position_offset, 2);
    EXPECT_EQ(encoder.max_tokens(), 12);
    config["pad_token_id"] = 4;
    EXPECT_EQ(encoder_of(config).position_offset, 5);
    config.erase("pad_token_id");
    EXPECT_EQ(encoder_of(config).position_offset, 2);
  }
  for (const int padding : {13, 2147483647}) {
    EXPECT_EQ(
        message_with(small_roberta(), "pad_token_id", padding),
        fmt::format("config.json: field pad_token_id is {}: positions count from {} on, but there are 14",
                    padding, padding + std::int64_t{1}));
  }
  EXPECT_EQ(message_with(small_roberta(), "pad_token_id", 12), "");
}

TEST(PretrainedConfig, DistilBertHasNoTypesAndOneEpsilon) {
  const EncoderConfig encoder = encoder_of(small_distilbert());
  EXPECT_EQ(encoder.architecture, Architecture::kDistilBert);
  EXPECT_EQ(encoder.hidden_size, 12);
  EXPECT_EQ(encoder.layers, 2);
  EXPECT_EQ(encoder.heads, 3);
  EXPECT_EQ(encoder.intermediate_size, 20);
  EXPECT_EQ(encoder.max_tokens(), 9);
  EXPECT_EQ(encoder.type_vocabulary_size, 0);
  EXPECT_EQ(encoder.layer_norm_eps, 1e-12);
  EXPECT_EQ(encoder.hidden_dropout, 0.2);
  EXPECT_EQ(encoder.attention_dropout, 0);
}

TEST(PretrainedConfig, ThereAndBack) {
  for (const auto& [config, model_class, padding] :
       {std::tuple(small(), "BertModel", Json()), std::tuple(small_distilbert(), "DistilBertModel", Json()),
        std::tuple(small_roberta(), "RobertaModel", Json(1))}) {
    const EncoderConfig encoder = encoder_of(config);
    const Json written = Json::parse(pretrained_config_from_encoder(encoder, "bfloat16").dump());
    EXPECT_EQ(written["dtype"], "bfloat16");
    EXPECT_EQ(written["architectures"], Json::array({model_class}));
    EXPECT_EQ(written.value("pad_token_id", Json()), padding);
    EXPECT_EQ(to_json(encoder_of(written)), to_json(encoder));
    // All fields are those of the architecture, with the values they had; positions are stored in any case.
    for (const auto& [field, value] : written.items()) {
      if (field == "architectures" || field.ends_with("dtype")) continue;
      EXPECT_EQ(value, field == "sinusoidal_pos_embds" ? Json(false) : config[field]) << field;
    }
  }
  EncoderConfig other = encoder_of(small_distilbert());
  other.layer_norm_eps = 1e-6;
  EXPECT_EQ(message_of([&] { pretrained_config_from_encoder(other, "float32"); }),
            "encoder config: layer_norm_eps is 1e-06; a distilbert model has 1e-12");
}

TEST(PretrainedTensors, HaveTheArchitecturesNames) {
  const auto name = [](Architecture architecture, const std::string& part) {
    return pretrained_tensor_name(architecture, "encoder.layer.10." + part);
  };
  for (const auto& [table, file] : {std::pair("attention.self.query.weight", "attention.q_lin.weight"),
                                    std::pair("attention.self.key.bias", "attention.k_lin.bias"),
                                    std::pair("attention.self.value.weight", "attention.v_lin.weight"),
                                    std::pair("attention.output.dense.bias", "attention.out_lin.bias"),
                                    std::pair("attention.output.LayerNorm.bias", "sa_layer_norm.bias"),
                                    std::pair("intermediate.dense.weight", "ffn.lin1.weight"),
                                    std::pair("output.dense.weight", "ffn.lin2.weight"),
                                    std::pair("output.LayerNorm.weight", "output_layer_norm.weight")}) {
    EXPECT_EQ(name(Architecture::kDistilBert, table), std::string("transformer.layer.10.") + file);
    EXPECT_EQ(name(Architecture::kXlmRoberta, table), std::string("encoder.layer.10.") + table);
  }
  EXPECT_EQ(pretrained_tensor_name(Architecture::kDistilBert, "embeddings.LayerNorm.weight"),
            "embeddings.LayerNorm.weight");
}

TEST(PretrainedTensors, OfHeadsAreBesideTheEncoder) {
  const auto is_beside = [](Architecture architecture, const std::string& name) {
    return is_beside_the_encoder(architecture, bare_tensor_name(architecture, name));
  };
  EXPECT_EQ(bare_tensor_name(Architecture::kXlmRoberta, "roberta.encoder.x"), "encoder.x");
  EXPECT_EQ(bare_tensor_name(Architecture::kDistilBert, "distilbert.transformer.x"), "transformer.x");
  EXPECT_EQ(bare_tensor_name(Architecture::kBert, "roberta.encoder.x"), "roberta.encoder.x");
  for (const char* name : {"lm_head.dense.weight", "roberta.pooler.dense.bias", "classifier.out_proj.weight",
                           "roberta.embeddings.position_ids"}) {
    EXPECT_TRUE(is_beside(Architecture::kRoberta, name)) << name;
    EXPECT_TRUE(is_beside(Architecture::kXlmRoberta, name)) << name;
  }
  for (const char* name : {"vocab_transform.weight", "vocab_layer_norm.bias", "vocab_projector.bias",
                           "pre_classifier.weight", "classifier.bias"}) {
    EXPECT_TRUE(is_beside(Architecture::kDistilBert, name)) << name;
  }
  EXPECT_FALSE(is_beside(Architecture::kRoberta, "cls.predictions.bias"));
  EXPECT_FALSE(is_beside(Architecture::kDistilBert, "pooler.dense.weight"));
  EXPECT_FALSE(is_beside(Architecture::kBert, "encoder.layer.0.adapter.weight"));
}

TEST(PretrainedConfig, NamesWhatIsNotSupported) {
  const std::string origin = "config.json: field ";
  EXPECT_EQ(
      message_with("model_type", "mpnet"),
      origin + "model_type is 'mpnet', which is not supported; bert, distilbert, roberta, xlm-roberta are");
  EXPECT_EQ(message_with("hidden_act", "gelu_new"),
            origin + "hidden_act is \"gelu_new\", which is not supported; \"gelu\" is");
  EXPECT_EQ(message_with("position_embedding_type", "relative_key"),
            origin + "position_embedding_type is \"relative_key\", which is not supported; \"absolute\" is");
  EXPECT_EQ(message_with("pruned_heads", {{"1", {0}}}),
            origin + "pruned_heads is {\"1\":[0]}, which is not supported; {} is");
  for (const char* field : {"is_decoder", "is_encoder_decoder", "add_cross_attention"}) {
    EXPECT_EQ(message_with(field, true), origin + field + " is true, which is not supported; false is");
    EXPECT_EQ(message_with(field, false), "");
  }
  EXPECT_EQ(message_with("auto_map", {{"AutoModel", "x.Y"}}),
            origin + "auto_map ({\"AutoModel\":\"x.Y\"}) is not supported");
  EXPECT_EQ(message_with("quantization_config", Json::object()),
            origin + "quantization_config ({}) is not supported");
  EXPECT_EQ(message_with(small_distilbert(), "activation", "relu"),
            origin + "activation is \"relu\", which is not supported; \"gelu\" is");
  EXPECT_EQ(message_with(small_roberta(), "position_embedding_type", "relative_key"),
            origin + "position_embedding_type is \"relative_key\", which is not supported; \"absolute\" is");
  EXPECT_EQ(message_with("use_cache", true), "");
  EXPECT_EQ(message_with("classifier_dropout", nullptr), "");
}

TEST(PretrainedConfig, NamesWhatIsWrong) {
  EXPECT_EQ(message_with("vocab_size", nullptr), "config.json: lacks the field vocab_size");
  EXPECT_EQ(message_with(small_distilbert(), "dim", nullptr), "config.json: lacks the field dim");
  EXPECT_EQ(message_with("type_vocab_size", 0),
            "config.json: encoder config: type_vocabulary_size is 0, must be at least 1");
  EXPECT_EQ(message_with("hidden_size", "12"),
            "config.json: field hidden_size is \"12\", expected a whole number from 0 to 2^31 - 1");
  EXPECT_EQ(message_with("num_attention_heads", 5),
            "config.json: encoder config: heads is 5 and does not divide hidden_size 12");
  EXPECT_EQ(message_with("layer_norm_eps", 0),
            "config.json: encoder config: layer_norm_eps is 0, must lie in (0, 1)");
}

}  // namespace
}  // namespace toller
