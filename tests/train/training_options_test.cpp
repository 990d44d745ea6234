// Training options: what is refused, and the way through JSON.
#include "train/training_options.h"

#include <gtest/gtest.h>

#include <functional>

#include "error.h"

namespace toller {
namespace {

std::string refusal(const std::function<void(TrainingOptions&)>& change) {
  TrainingOptions options;
  change(options);
  try {
    options.validate();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(TrainingOptions, DefaultsAreValid) {
  EXPECT_EQ(refusal([](TrainingOptions&) {}), "");
}

TEST(TrainingOptions, RefusalsNameTheFlag) {
  const std::vector<std::pair<const char*, std::function<void(TrainingOptions&)>>> cases = {
      {"--global-batch", [](auto& o) { o.global_batch = 0; }},
      {"--micro-batch", [](auto& o) { o.micro_batch = -1; }},
      {"--accumulate", [](auto& o) { o.accumulate = 0; }},
      {"--positives", [](auto& o) { o.positives = 0; }},
      {"--steps", [](auto& o) { o.steps = -3; }},
      {"--epochs", [](auto& o) { o.epochs = 0; }},
      {"--lr", [](auto& o) { o.lr = std::nan(""); }},
      {"--lr", [](auto& o) { o.lr = -1; }},
      {"--temperature", [](auto& o) { o.temperature = 0; }},
      {"--dropout", [](auto& o) { o.dropout = 1; }},
      {"--adam-epsilon", [](auto& o) { o.adam_epsilon = 0; }},
      {"--adam-beta2", [](auto& o) { o.adam_beta2 = 1; }},
      {"--max-length", [](auto& o) { o.max_length = 2; }},
      {"--loss", [](auto& o) { o.loss = {"hinge?"}; }},
      {"--loss", [](auto& o) { o.loss = {}; }},
      {"--sampling", [](auto& o) { o.sampling = "easy"; }},
      {"--mw-scope", [](auto& o) { o.mw_scope = "rank"; }},
      {"--loss",
       [](auto& o) {
         o.loss = {"infonce", "ranknet:two"};
       }},
      {"--loss", [](auto& o) { o.loss = {"ranknet:"}; }},
      {"--margin", [](auto& o) { o.margin = -1; }},
      {"--list-scale", [](auto& o) { o.list_scale = std::nan(""); }},
      {"--pg-samples", [](auto& o) { o.pg_samples = 1; }},
      {"--device", [](auto& o) { o.machine.device = "tpu"; }},
      {"--precision", [](auto& o) { o.machine.precision = "half"; }},
      {"pooling", [](auto& o) { o.pooling = "max"; }},
      {"--heads", [](auto& o) { o.init = "model.h5", o.heads = 4; }},
  };
  for (const auto& [flag, change] : cases) {
    EXPECT_NE(refusal(change).find(flag), std::string::npos) << flag << ": " << refusal(change);
  }
}

TEST(TrainingOptions, GoThroughJson) {
  TrainingOptions options;
  options.data = "store.h5";
  options.lr = 0.1 + 0.2;  // not a short decimal
  options.seed = 0xFFFFFFFFFFFFFFFFull;
  options.symmetric = true;
  options.heads = 8;
  const auto json = nlohmann::json::parse(to_json(options).dump());
  EXPECT_EQ(to_json(training_options_from_json(json, "here")), to_json(options));
  EXPECT_THROW(training_options_from_json({{"lr", "fast"}}, "here"), Error);
  EXPECT_THROW(training_options_from_json(nullptr, "here"), Error);
}

TEST(TrainingOptions, EncoderTakesPresetAndSizes) {
  TrainingOptions options;
  options.preset = "mini";
  options.heads = 8;
  options.dropout = 0.25;
  options.pooling = "cls";
  const EncoderConfig config = encoder_config_for(options, 1000, 700);
  EXPECT_EQ(config.layers, 4);
  EXPECT_EQ(config.heads, 8);
  EXPECT_EQ(config.vocabulary_size, 1000);
  EXPECT_EQ(config.max_positions, 700) << "positions for the longest text";
  EXPECT_EQ(config.attention_dropout, 0.25);
  EXPECT_EQ(config.pooling, Pooling::kCls);
  options.heads = 7;
  EXPECT_THROW(encoder_config_for(options, 1000, 64), UsageError);
}

}  // namespace
}  // namespace toller
