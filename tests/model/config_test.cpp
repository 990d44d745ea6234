// Encoder configs: presets, JSON, and what is refused.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "error.h"
#include "model/config.h"
#include "model/parameters.h"

namespace toller {
namespace {

EncoderConfig valid_config() {
  EncoderConfig config = preset_config("tiny");
  config.vocabulary_size = 100;
  return config;
}

std::string refusal(const EncoderConfig& config) {
  try {
    config.validate();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(EncoderConfig, PresetsAreValid) {
  for (const std::string& name : preset_names()) {
    EncoderConfig config = preset_config(name);
    config.vocabulary_size = 100;
    EXPECT_EQ(refusal(config), "") << name;
  }
  EXPECT_THROW(preset_config("huge"), UsageError);
}

TEST(EncoderConfig, RefusesSizesThatDoNotFit) {
  EncoderConfig config = valid_config();
  config.heads = 3;
  EXPECT_NE(refusal(config).find("heads is 3 and does not divide hidden_size 128"), std::string::npos);
  config = valid_config();
  config.layers = 0;
  EXPECT_NE(refusal(config).find("layers"), std::string::npos);
  config = valid_config();
  config.hidden_dropout = 1;
  EXPECT_NE(refusal(config).find("hidden_dropout"), std::string::npos);
  config.hidden_dropout = std::nan("");
  EXPECT_NE(refusal(config).find("hidden_dropout"), std::string::npos);
}

TEST(EncoderConfig, GoesThroughJson) {
  EncoderConfig config = valid_config();
  config.pooling = Pooling::kLast;
  config.normalize = false;
  config.attention_dropout = 0.25;
  EXPECT_EQ(to_json(encoder_config_from_json(to_json(config), "here")), to_json(config));
}

TEST(EncoderConfig, PositionsAndTypesAreTheArchitectures) {
  EncoderConfig config = valid_config();
  config.position_offset = 2;
  EXPECT_EQ(refusal(config), "encoder config: position_offset is 2, must lie between 0 and 0");
  config.architecture = Architecture::kXlmRoberta;
  EXPECT_EQ(refusal(config), "");
  EXPECT_EQ(config.max_tokens(), 510);
  const nlohmann::json json = to_json(config);
  EXPECT_EQ(json["architecture"], "xlm-roberta");
  EXPECT_EQ(encoder_config_from_json(json, "here").position_offset, 2);
  EXPECT_EQ(to_json(encoder_config_from_json(json, "here")), json);
  for (const int offset : {0, 512, -1}) {
    config.position_offset = offset;
    EXPECT_EQ(refusal(config),
              fmt::format("encoder config: position_offset is {}, must lie between 1 and 511", offset));
  }
  config = valid_config();
  config.architecture = Architecture::kDistilBert;
  EXPECT_EQ(refusal(config), "encoder config: type_vocabulary_size is 2, must lie between 0 and 0");
  config.type_vocabulary_size = 0;
  EXPECT_EQ(refusal(config), "");
}

// Whoever wrote files before there were other architectures finds the same bytes in them.
TEST(EncoderConfig, JsonOfBertIsThatOfOldFiles) {
  EXPECT_EQ(
      to_json(valid_config()).dump(),
      R"({"architecture":"bert","attention_dropout":0.1,"heads":2,"hidden_dropout":0.1,"hidden_size":128,)"
      R"("initializer_range":0.02,"intermediate_size":512,"layer_norm_eps":1e-12,"layers":2,)"
      R"("max_positions":512,"normalize":true,"pooling":"mean","type_vocabulary_size":2,)"
      R"("vocabulary_size":100})");
}

TEST(EncoderConfig, JsonErrorsNameTheField) {
  const auto message = [](nlohmann::json json) -> std::string {
    try {
      encoder_config_from_json(json, "model.h5");
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  nlohmann::json json = to_json(valid_config());
  json.erase("layers");
  EXPECT_NE(message(json).find("model.h5: encoder config lacks the field layers"), std::string::npos);
  json = to_json(valid_config());
  for (const nlohmann::json& wrong : {nlohmann::json("two"), nlohmann::json(2.5), nlohmann::json(1e300),
                                     nlohmann::json(std::int64_t{1} << 32), nlohmann::json(true)}) {
    json["heads"] = wrong;
    EXPECT_NE(message(json).find("field heads: "), std::string::npos) << wrong;
  }
  json = to_json(valid_config());
  json["rope"] = true;
  EXPECT_NE(message(json).find("unknown field rope"), std::string::npos);
  json = to_json(valid_config());
  json["architecture"] = "mpnet";
  EXPECT_EQ(message(json),
            "model.h5: encoder config: architecture 'mpnet' is unknown; choose bert, distilbert, "
            "roberta, xlm-roberta");
  json = to_json(valid_config());
  json["position_offset"] = "two";
  EXPECT_NE(message(json).find("field position_offset: "), std::string::npos);
  json = to_json(valid_config());
  json["pooling"] = "max";
  EXPECT_NE(message(json).find("model.h5"), std::string::npos);
  EXPECT_NE(message(nlohmann::json::array()).find("object"), std::string::npos);
}

TEST(ParameterTable, TilesTheFlatBuffer) {
  const ParameterTable table(valid_config());
  std::int64_t next = 0;
  for (const TensorView& tensor : table.tensors()) {
    EXPECT_EQ(tensor.offset, next) << tensor.name;
    next += tensor.size;
  }
  EXPECT_EQ(next, table.size());
  // BERT's count: V·h + P·h + 2h + 2h + layers · (4h² + 4h + 2·h·i + i + h + 4h), and the temperature.
  EXPECT_EQ(table.size(), 100 * 128 + 512 * 128 + 4 * 128 +
                              2 * (4 * 128 * 128 + 4 * 128 + 2 * 128 * 512 + 512 + 128 + 4 * 128) + 1);
}

TEST(ParameterTable, HasNoTypesWhereThereAreNone) {
  EncoderConfig config = valid_config();
  const std::int64_t with_types = ParameterTable(config).size();
  config.type_vocabulary_size = 0;
  const ParameterTable table(config);
  EXPECT_EQ(table.size(), with_types - 2 * 128);
  EXPECT_THROW(table.at("embeddings.token_type_embeddings.weight"), Error);
}

TEST(ParameterTable, QueryKeyValueAreAdjacent) {
  const ParameterTable table(valid_config());
  for (const char* kind : {"weight", "bias"}) {
    const auto& query = table.at(fmt::format("encoder.layer.1.attention.self.query.{}", kind));
    const auto& key = table.at(fmt::format("encoder.layer.1.attention.self.key.{}", kind));
    const auto& value = table.at(fmt::format("encoder.layer.1.attention.self.value.{}", kind));
    EXPECT_EQ(key.offset, query.offset + query.size);
    EXPECT_EQ(value.offset, key.offset + key.size);
  }
}

TEST(ParameterTable, InitialisationIsBertsAndSeeded) {
  const EncoderConfig config = valid_config();
  const ParameterTable table(config);
  std::vector<float> a(table.size()), b(table.size());
  initialize_parameters(config, table, 1, a.data());
  initialize_parameters(config, table, 2, b.data());
  EXPECT_NE(a, b);
  initialize_parameters(config, table, 1, b.data());
  EXPECT_EQ(a, b);
  const TensorView& word = table.at("embeddings.word_embeddings.weight");
  double sum = 0, squares = 0;
  for (std::int64_t i = 0; i < word.size; ++i) {
    sum += a[word.offset + i];
    squares += a[word.offset + i] * a[word.offset + i];
  }
  EXPECT_NEAR(sum / word.size, 0, 5 * 0.02 / std::sqrt(word.size));
  EXPECT_NEAR(std::sqrt(squares / word.size), 0.02, 0.0005);
  EXPECT_EQ(a[table.at("embeddings.LayerNorm.weight").offset], 1);
  EXPECT_EQ(a[table.at("encoder.layer.0.output.dense.bias").offset], 0);
}

}  // namespace
}  // namespace toller
