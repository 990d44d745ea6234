// Folders of architectures other than BERT in and out; what all have in common is in
// pretrained_model_test.cpp.
#include <gtest/gtest.h>

#include "checkpoint/pretrained_fixture.h"
#include "checkpoint/pretrained_model.h"
#include "temporary_folder.h"
#include "text/tokenizer.h"

namespace toller {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Case {
  const char* architecture;
  Pooling pooling;
  bool normalize;
  std::int32_t max_tokens;
  const char* prefix;               ///< of the names of tensors in the fixture
  std::vector<std::string> unused;  ///< tensors
};

class PretrainedArchitecture : public testing::TestWithParam<Case> {
 protected:
  PretrainedArchitecture() { fs::copy(fixture_ / "model", model_, fs::copy_options::recursive); }

  Json read(const fs::path& folder, const char* name) const { return Json::parse(read_bytes(folder / name)); }
  void set(const char* name, const char* field, const Json& value) {
    Json json = read(model_, name);
    json[field] = value;
    write_bytes(model_ / name, json.dump());
  }
  /// Imports, exports, and gives the exported file.
  Json exported(const char* name) {
    import_pretrained({.folder = model_}, out_);
    fs::remove_all(exported_);
    export_sentence_transformers(CheckpointReader(out_), Side::kQueries, SafetensorsType::kFloat32,
                                 exported_);
    return read(exported_, name);
  }

  const fs::path fixture_ =
      fmt::format("{}/tests/checkpoint/fixtures/pretrained-{}", TOLLER_SOURCE_DIR, GetParam().architecture);
  TemporaryFolder folder_;
  const fs::path model_ = folder_ / "model", out_ = folder_ / "model.h5", exported_ = folder_ / "exported";
};

// In float the largest difference is 1.2e-6 of a tensor's largest value.
TEST_P(PretrainedArchitecture, GivesWhatTransformersGives) {
  EXPECT_EQ(import_pretrained({.folder = model_}, out_).unused, GetParam().unused);
  const CheckpointReader model(out_);
  EXPECT_EQ(architecture_name(model.meta().encoder.architecture), GetParam().architecture);
  EXPECT_EQ(model.meta().encoder.pooling, GetParam().pooling);
  EXPECT_EQ(model.meta().encoder.normalize, GetParam().normalize);
  EXPECT_EQ(model.meta().encoder.max_tokens(), GetParam().max_tokens);
  expect_parameters_of(model, fixture_, GetParam().prefix);
  expect_transformers_results<float>(model, fixture_, 1e-5);
  expect_transformers_results<double>(model, fixture_, 1e-9);
}

TEST_P(PretrainedArchitecture, ExportGivesBackWhatCameIn) {
  const Json config = exported("config.json"), original = read(model_, "config.json");
  for (const auto& [field, value] : config.items()) {
    if (field == "architectures" || field == "torch_dtype") continue;
    // Versions of transformers that write it know one kind alone.
    EXPECT_EQ(value, field == "position_embedding_type" ? Json("absolute") : original[field]) << field;
  }
  EXPECT_EQ(read(exported_, "sentence_bert_config.json")["max_seq_length"], GetParam().max_tokens);
  EXPECT_EQ(read_bytes(exported_ / "tokenizer.json"), Tokenizer::load(model_ / "tokenizer.json").bytes());

  const SafetensorsReader before(model_ / "model.safetensors"), after(exported_ / "model.safetensors");
  EXPECT_EQ(after.tensors().size() + GetParam().unused.size(), before.tensors().size());
  for (const auto& [name, info] : after.tensors()) {
    EXPECT_EQ(info.shape, before.info(GetParam().prefix + name).shape) << name;
    EXPECT_EQ(values_of(after, name), values_of(before, GetParam().prefix + name)) << name;
  }

  const fs::path again = folder_ / "again.h5";
  import_pretrained({.folder = exported_}, again);
  EXPECT_EQ(to_json(CheckpointReader(again).meta().encoder), to_json(CheckpointReader(out_).meta().encoder));
}

TEST_P(PretrainedArchitecture, WithoutATokenizersConfigItIsTheArchitectures) {
  fs::remove(model_ / "tokenizer_config.json");
  const Json config = exported("tokenizer_config.json");
  const bool is_distilbert = GetParam().architecture == std::string("distilbert");
  EXPECT_EQ(config["cls_token"], is_distilbert ? "[CLS]" : "<s>");
  EXPECT_EQ(config["pad_token"], is_distilbert ? "[PAD]" : "<pad>");
  // The fixtures' tokenizers are WordPiece, of which RoBERTa's class would make something else.
  EXPECT_EQ(config["tokenizer_class"], is_distilbert ? "DistilBertTokenizer" : "PreTrainedTokenizerFast");
  EXPECT_EQ(config["model_max_length"], GetParam().max_tokens);
}

TEST_P(PretrainedArchitecture, NoTextIsLongerThanThePositions) {
  set("sentence_bert_config.json", "max_seq_length", 514);
  EXPECT_EQ(exported("sentence_bert_config.json")["max_seq_length"], GetParam().max_tokens);
  set("sentence_bert_config.json", "max_seq_length", nullptr);
  EXPECT_EQ(exported("sentence_bert_config.json")["max_seq_length"], GetParam().max_tokens);
  set("sentence_bert_config.json", "max_seq_length", 7);
  EXPECT_EQ(exported("sentence_bert_config.json")["max_seq_length"], 7);
}

TEST_P(PretrainedArchitecture, TensorsOfAnotherArchitectureAreErrors) {
  set("config.json", "model_type", "bert");
  // DistilBERT's sizes have other names; with BERT's it is the tensors that are wrong.
  for (const auto& [field, value] :
       {std::pair("hidden_size", 8), std::pair("num_hidden_layers", 2), std::pair("num_attention_heads", 2),
        std::pair("intermediate_size", 12)}) {
    set("config.json", field, value);
  }
  const std::string message = message_of([&] { import_pretrained({.folder = model_}, out_); });
  if (*GetParam().prefix != '\0' || GetParam().architecture == std::string("distilbert")) {
    EXPECT_TRUE(message.ends_with(": is no tensor of this encoder")) << message;
  } else {
    // RoBERTa's are BERT's by name and shape: the model_type alone says how positions count.
    EXPECT_EQ(message, "");
  }
}

const std::vector<Case> kCases = {
    {"distilbert", Pooling::kCls, false, 12, "", {}},
    {"roberta", Pooling::kMean, true, 12, "", {"pooler.dense.bias", "pooler.dense.weight"}},
    {"xlm-roberta",
     Pooling::kCls,
     true,
     14,
     "roberta.",
     {"classifier.dense.bias", "classifier.dense.weight", "classifier.out_proj.bias",
      "classifier.out_proj.weight"}}};

INSTANTIATE_TEST_SUITE_P(Every, PretrainedArchitecture, testing::ValuesIn(kCases),
                         [](const testing::TestParamInfo<Case>& info) {
                           std::string name = info.param.architecture;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace toller
