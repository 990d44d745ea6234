// config.json of BERT models.
#include "model/bert_config.h"

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

std::string message_with(const char* field, const Json& value) {
  Json config = small();
  config[field] = value;
  return message_of([&] { encoder_from_bert_config(JsonObject(config, "config.json")); });
}

TEST(BertConfig, BecomesAnEncoder) {
  const EncoderConfig encoder = encoder_from_bert_config(JsonObject(small(), "config.json"));
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

TEST(BertConfig, AbsentFieldsAreTransformersDefaults) {
  const JsonObject config({{"model_type", "bert"},
                           {"vocab_size", 30},
                           {"hidden_size", 12},
                           {"num_hidden_layers", 2},
                           {"num_attention_heads", 3},
                           {"intermediate_size", 20}},
                          "config.json");
  const EncoderConfig encoder = encoder_from_bert_config(config);
  EXPECT_EQ(encoder.max_positions, 512);
  EXPECT_EQ(encoder.type_vocabulary_size, 2);
  EXPECT_EQ(encoder.layer_norm_eps, 1e-12);
  EXPECT_EQ(encoder.hidden_dropout, 0.1);
  EXPECT_EQ(encoder.attention_dropout, 0.1);
}

TEST(BertConfig, ThereAndBack) {
  const EncoderConfig encoder = encoder_from_bert_config(JsonObject(small(), "config.json"));
  const auto written = bert_config_from_encoder(encoder, "bfloat16");
  EXPECT_EQ(written["dtype"], "bfloat16");
  EXPECT_EQ(written["architectures"], Json::array({"BertModel"}));
  const auto again = encoder_from_bert_config(JsonObject(Json::parse(written.dump()), "written"));
  EXPECT_EQ(to_json(again), to_json(encoder));
}

TEST(BertConfig, NamesWhatIsNotSupported) {
  const std::string origin = "config.json: field ";
  EXPECT_EQ(message_with("model_type", "mpnet"),
            origin + "model_type is 'mpnet', which is not supported; bert is");
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
  EXPECT_EQ(message_with("use_cache", true), "");
  EXPECT_EQ(message_with("classifier_dropout", nullptr), "");
}

TEST(BertConfig, NamesWhatIsWrong) {
  EXPECT_EQ(message_with("vocab_size", nullptr), "config.json: lacks the field vocab_size");
  EXPECT_EQ(message_with("hidden_size", "12"),
            "config.json: field hidden_size is \"12\", expected a whole number from 0 to 2^31 - 1");
  EXPECT_EQ(message_with("num_attention_heads", 5),
            "config.json: encoder config: heads is 5 and does not divide hidden_size 12");
  EXPECT_EQ(message_with("layer_norm_eps", 0),
            "config.json: encoder config: layer_norm_eps is 0, must lie in (0, 1)");
}

}  // namespace
}  // namespace toller
