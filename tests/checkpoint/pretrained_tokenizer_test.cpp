#include "checkpoint/pretrained_tokenizer.h"

#include <gmock/gmock.h>

#include "checkpoint/pretrained_model.h"
#include "temporary_folder.h"
#include "text/sentencepiece_fixture.h"
#include "text/tokenizer.h"

namespace toller {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using Json = nlohmann::json;

const fs::path kFixtures = TOLLER_SOURCE_DIR "/tests/checkpoint/fixtures";
const std::vector<std::string> kLines = {"a cab", "a bad cab", "bad", "a cab a cab", "cab bad"};

class PretrainedTokenizerFile : public testing::Test {
 protected:
  /// A copy of a fixture's model, whose tokenizer is a sentencepiece model.
  void make_model(const std::string& fixture, const std::string& tokenizer) {
    fs::copy(kFixtures / fixture / "model", model_, fs::copy_options::recursive);
    for (const char* name :
         {"tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"}) {
      fs::remove(model_ / name);
    }
    write_bytes(model_ / "sentencepiece.bpe.model", tokenizer);
  }

  /// Exports an encoder with this tokenizer, and returns tokenizer_config.json.
  Json export_with(const std::string& tokenizer) {
    CheckpointMeta meta;
    meta.encoder.vocabulary_size = 40;
    meta.encoder.hidden_size = 8;
    meta.encoder.layers = 1;
    meta.encoder.heads = 2;
    meta.encoder.intermediate_size = 8;
    meta.encoder.max_positions = 16;
    meta.tokenizer = tokenizer;
    const ParameterTable table(meta.encoder);
    const std::vector<float> parameters(static_cast<std::size_t>(table.size()), 0.5F);
    write_checkpoint<float>(out_, meta, table, parameters, {}, {});
    fs::remove_all(exported_);
    export_sentence_transformers(CheckpointReader(out_), Side::kQueries, SafetensorsType::kFloat32,
                                 exported_);
    return Json::parse(read_bytes(exported_ / "tokenizer_config.json"));
  }

  TemporaryFolder folder_;
  const fs::path model_ = folder_ / "model", out_ = folder_ / "model.h5", exported_ = folder_ / "exported";
};

TEST_F(PretrainedTokenizerFile, XlmRobertaMayHaveSentencepiecesFileAlone) {
  make_model("pretrained-xlm-roberta", train_sentencepiece(kLines, {{"vocab_size", "16"}}));
  const ImportReport report = import_pretrained({.folder = model_}, out_);
  EXPECT_EQ(report.folder.tokenizer_file, "sentencepiece.bpe.model");
  const Tokenizer tokenizer = Tokenizer::load_xlm_roberta((model_ / "sentencepiece.bpe.model").string());
  EXPECT_EQ(report.folder.tokenizer, tokenizer.bytes());
  export_sentence_transformers(CheckpointReader(out_), Side::kQueries, SafetensorsType::kFloat32, exported_);
  EXPECT_EQ(read_bytes(exported_ / "tokenizer.json"), tokenizer.bytes());
  const Json config = Json::parse(read_bytes(exported_ / "tokenizer_config.json"));
  EXPECT_EQ(config["tokenizer_class"], "XLMRobertaTokenizer");
  EXPECT_EQ(config["mask_token"], "<mask>");
}

TEST_F(PretrainedTokenizerFile, OtherArchitecturesDoNotTakeIt) {
  make_model("pretrained-roberta", train_sentencepiece(kLines, {{"vocab_size", "16"}}));
  EXPECT_EQ(
      message_of([&] { import_pretrained({.folder = model_}, out_); }),
      model_.string() +
          ": has neither tokenizer.json nor vocab.txt; AutoTokenizer of transformers writes the former");
}

TEST_F(PretrainedTokenizerFile, MorePiecesThanTheEncoderHasAreRefused) {
  std::vector<std::string> lines;
  for (char32_t letter = 0x4E00; letter < 0x4E60; ++letter) {
    lines.emplace_back();
    for (const char byte :
         {0xE4, 0xB8 + static_cast<int>((letter - 0x4E00) / 64), 0x80 + static_cast<int>(letter % 64)}) {
      lines.back().push_back(byte);
    }
  }
  make_model("pretrained-xlm-roberta", train_sentencepiece(lines, {{"vocab_size", "110"}}));
  EXPECT_THAT(message_of([&] { import_pretrained({.folder = model_}, out_); }),
              HasSubstr("sentencepiece.bpe.model: has "));
}

TEST_F(PretrainedTokenizerFile, ATrainedOneIsExportedAsItIs) {
  Tokenizer::TrainOptions options;
  options.vocabulary_size = 11;
  const std::string tokenizer = Tokenizer::train(kLines, options).bytes();
  const Json config = export_with(tokenizer);
  EXPECT_EQ(read_bytes(exported_ / "tokenizer.json"), tokenizer);
  EXPECT_EQ(config, (Json{{"tokenizer_class", "PreTrainedTokenizerFast"},
                          {"unk_token", "[UNK]"},
                          {"cls_token", "[CLS]"},
                          {"sep_token", "[SEP]"},
                          {"pad_token", "[PAD]"},
                          {"model_max_length", 16}}));
}

TEST_F(PretrainedTokenizerFile, ASentencepieceModelIsConverted) {
  const std::string model = train_sentencepiece(kLines, {{"vocab_size", "14"}, {"bos_id", "-1"}});
  const Json config = export_with(model);
  EXPECT_EQ(read_bytes(exported_ / "tokenizer.json"), as_tokenizer_json(model, "here.model"));
  // A batch is padded with something, though the tokenizer has no piece for it.
  EXPECT_EQ(config, (Json{{"tokenizer_class", "PreTrainedTokenizerFast"},
                          {"unk_token", "<unk>"},
                          {"sep_token", "</s>"},
                          {"pad_token", "</s>"},
                          {"model_max_length", 16}}));
}

TEST_F(PretrainedTokenizerFile, WhatHasNoSuchFormIsNotExported) {
  EXPECT_EQ(message_of([&] { export_with(""); }),
            out_.string() + ": holds no tokenizer, so it cannot be exported");
  const std::string bpe = train_sentencepiece(kLines, {{"vocab_size", "14"}, {"model_type", "bpe"}});
  EXPECT_THAT(message_of([&] { export_with(bpe); }),
              HasSubstr("model.h5: is a sentencepiece model of the kind BPE"));
  EXPECT_FALSE(fs::exists(exported_));
}

}  // namespace
}  // namespace toller
