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
      {"--data-weights", [](auto& o) { o.data_weights = "1,,2"; }},
      {"--data-weights", [](auto& o) { o.data_weights = "one"; }},
      {"--data-alpha", [](auto& o) { o.data_alpha = -1; }},
      {"--forget-weight", [](auto& o) { o.forget_weight = -1; }},
      {"--teacher-temperature", [](auto& o) { o.teacher_temperature = 0; }},
      {"--list-scale", [](auto& o) { o.list_scale = std::nan(""); }},
      {"--negatives", [](auto& o) { o.negatives = "some"; }},
      {"--hinge-negatives", [](auto& o) { o.hinge_negatives = "easy"; }},
      {"--hinge-weights", [](auto& o) { o.hinge_weights = "1"; }},
      {"--hinge-weights", [](auto& o) { o.hinge_weights = "1,-1"; }},
      {"--hinge-weights", [](auto& o) { o.hinge_weights = "0,0"; }},
      {"--hinge-weights", [](auto& o) { o.hinge_weights = "1,x"; }},
      {"--hinge-weights", [](auto& o) { o.hinge_weights = "1,nan"; }},
      {"--hinge-weights", [](auto& o) { o.hinge_weights = "1,1,1"; }},
      {"--uniformity", [](auto& o) { o.uniformity = "none"; }},
      {"--uniformity-weight", [](auto& o) { o.uniformity_weight = -1; }},
      {"--pg-samples", [](auto& o) { o.pg_samples = 1; }},
      {"--matryoshka", [](auto& o) { o.matryoshka = "64,128"; }},
      {"--matryoshka", [](auto& o) { o.matryoshka = "64,64"; }},
      {"--matryoshka", [](auto& o) { o.matryoshka = "64,,32"; }},
      {"--matryoshka", [](auto& o) { o.matryoshka = "64,32d"; }},
      {"--matryoshka", [](auto& o) { o.matryoshka = "64,0"; }},
      {"--device", [](auto& o) { o.machine.device = "tpu"; }},
      {"--precision", [](auto& o) { o.machine.precision = "half"; }},
      {"pooling", [](auto& o) { o.pooling = "max"; }},
      {"--heads", [](auto& o) { o.init = "model.h5", o.heads = 4; }},
  };
  for (const auto& [flag, change] : cases) {
    EXPECT_NE(refusal(change).find(flag), std::string::npos) << flag << ": " << refusal(change);
  }
}

TEST(TrainingOptions, MatryoshkaDimensionsAreThoseOfTheModel) {
  TrainingOptions options;
  options.matryoshka = "128,64,16";
  EncoderConfig encoder = encoder_config_for(options, 1000, 64);
  const MatryoshkaOptions matryoshka = options.loss_settings(encoder).matryoshka;
  EXPECT_EQ(matryoshka.dimensions, (std::vector<std::int64_t>{128, 64, 16}));
  EXPECT_TRUE(matryoshka.normalize);
  encoder.normalize = false;
  EXPECT_FALSE(options.loss_settings(encoder).matryoshka.normalize) << "the model decides, not the flag";
  encoder.hidden_size = 64;
  try {
    options.loss_settings(encoder);
    FAIL() << "128 numbers of 64";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("--matryoshka"), std::string::npos) << error.what();
  }
  EXPECT_TRUE(TrainingOptions().loss_settings(encoder).matryoshka.dimensions.empty());
}

TEST(TrainingOptions, PairLossesTakeTheirs) {
  TrainingOptions options;
  options.hinge_negatives = "semi-hard";
  options.hinge_weights = "0.5,2";
  options.margin = 0.3;
  const EncoderConfig encoder = encoder_config_for(options, 1000, 64);
  const LossSettings settings = options.loss_settings(encoder);
  EXPECT_FALSE(settings.own_negatives);
  EXPECT_EQ(settings.pair.negatives, HingeNegatives::kSemiHard);
  EXPECT_EQ(settings.pair.query_weight, 0.5);
  EXPECT_EQ(settings.pair.document_weight, 2);
  EXPECT_EQ(settings.pair.margin, 0.3);
  options.negatives = "own";
  EXPECT_TRUE(options.loss_settings(encoder).own_negatives);
  EXPECT_EQ(training_options_from_json({{"margin", 0.3}}, "an older run").negatives, "own");
}

TEST(TrainingOptions, AlignmentAndUniformityTakeTheirs) {
  TrainingOptions options;
  const EncoderConfig encoder = encoder_config_for(options, 1000, 64);
  EXPECT_TRUE(options.loss_settings(encoder).alignment_uniformity.calibrated);
  options.uniformity = "plain";
  options.uniformity_weight = 0.25;
  const AlignmentUniformityOptions settings = options.loss_settings(encoder).alignment_uniformity;
  EXPECT_FALSE(settings.calibrated);
  EXPECT_EQ(settings.uniformity_weight, 0.25);
}

TEST(TrainingOptions, GoThroughJson) {
  TrainingOptions options;
  options.data = {"store.h5", "more.h5"};
  options.lr = 0.1 + 0.2;  // not a short decimal
  options.seed = 0xFFFFFFFFFFFFFFFFull;
  options.symmetric = true;
  options.heads = 8;
  options.matryoshka = "64,32";
  const auto json = nlohmann::json::parse(to_json(options).dump());
  EXPECT_EQ(to_json(training_options_from_json(json, "here")), to_json(options));
  EXPECT_EQ(training_options_from_json({{"data", "old.h5"}, {"loss", "mw"}}, "here").data,
            std::vector<std::string>{"old.h5"});
  EXPECT_THROW(training_options_from_json({{"lr", "fast"}}, "here"), Error);
  EXPECT_THROW(training_options_from_json({{"steps", 3.7}}, "here"), Error);
  EXPECT_THROW(training_options_from_json({{"steps", 1e300}}, "here"), Error);
  EXPECT_THROW(training_options_from_json({{"heads", std::int64_t{1} << 32}}, "here"), Error);
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
