// Two folders, of queries and of documents, as one model with separate towers, and back.
#include <gmock/gmock.h>

#include "checkpoint/pretrained_fixture.h"
#include "checkpoint/pretrained_model.h"
#include "temporary_folder.h"

namespace toller {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using Json = nlohmann::json;

const fs::path kModel = TOLLER_SOURCE_DIR "/tests/checkpoint/fixtures/pretrained/model";

class PretrainedTowers : public testing::Test {
 protected:
  PretrainedTowers() {
    for (const fs::path& folder : {queries_, documents_}) {
      fs::copy(kModel, folder, fs::copy_options::recursive);
    }
    add_to_weights(documents_, 0.25F);
  }

  /// Other values, the same shapes.
  static void add_to_weights(const fs::path& folder, float term) {
    std::vector<SafetensorsEntry> entries;
    std::vector<std::vector<float>> values;
    {
      const SafetensorsReader reader(folder / "model.safetensors");
      for (const auto& [name, info] : reader.tensors()) {
        entries.push_back({name, info.shape});
        values.push_back(values_of(reader, name));
        for (float& value : values.back()) value += term;
      }
    }
    fs::remove(folder / "model.safetensors");
    SafetensorsWriter writer(folder / "model.safetensors", SafetensorsType::kFloat32, entries);
    for (const auto& of_tensor : values) writer.append(of_tensor);
    writer.close();
  }

  void set(const std::string& name, const char* field, const Json& value) const {
    Json json = Json::parse(read_bytes(documents_ / name));
    json[field] = value;
    write_bytes(documents_ / name, json.dump());
  }

  ImportReport import() { return import_pretrained({.folder = queries_, .documents = documents_}, out_); }
  std::string import_message() {
    return message_of([&] { import(); });
  }

  TemporaryFolder folder_;
  const fs::path queries_ = folder_ / "queries", documents_ = folder_ / "documents",
                 out_ = folder_ / "model.h5";
};

TEST_F(PretrainedTowers, EachSideHasItsFolder) {
  const ImportReport report = import();
  EXPECT_EQ(report.files.size(), 2U);
  EXPECT_TRUE(report.folder.encoder.separate_towers);
  const CheckpointReader model(out_);
  EXPECT_TRUE(model.meta().encoder.separate_towers);
  EXPECT_EQ(model.meta().origin["documents_folder"], documents_.string());
  const std::vector<std::pair<Side, fs::path>> sides = {{Side::kQueries, queries_},
                                                        {Side::kDocuments, documents_}};
  for (const auto& [side, folder] : sides) {
    const fs::path exported = folder_ / "exported";
    fs::remove_all(exported);
    export_sentence_transformers(model, side, SafetensorsType::kFloat32, exported);
    const SafetensorsReader before(folder / "model.safetensors"), after(exported / "model.safetensors");
    EXPECT_EQ(after.tensors().size() + 2, before.tensors().size());  // without the pooler
    for (const auto& [name, info] : after.tensors()) {
      EXPECT_EQ(values_of(after, name), values_of(before, name)) << name;
    }
  }
}

TEST_F(PretrainedTowers, EachSideHasItsPromptAndLength) {
  for (const auto& [folder, prompt] : {std::pair(queries_, "one: "), std::pair(documents_, "two: ")}) {
    const Json prompts = {{"query", prompt}, {"document", prompt}};
    write_bytes(folder / "config_sentence_transformers.json", Json{{"prompts", prompts}}.dump());
  }
  set("sentence_bert_config.json", "max_seq_length", 9);
  import();
  const TextForm form = CheckpointReader(out_).meta().form;
  EXPECT_EQ(form.queries.prompt, "one: ");
  EXPECT_EQ(form.documents.prompt, "two: ");
  EXPECT_EQ(form.queries.max_length, 20);
  EXPECT_EQ(form.documents.max_length, 9);
}

TEST_F(PretrainedTowers, AnotherShapeIsRefused) {
  set("config.json", "layer_norm_eps", 1e-5);
  EXPECT_EQ(import_message(), documents_.string() + ": layer_norm_eps is 1e-05, but that of " +
                                  queries_.string() +
                                  " is 1e-07; the two towers of a model have the same shape");
  EXPECT_FALSE(fs::exists(out_));
}

TEST_F(PretrainedTowers, AnotherPoolingIsRefused) {
  set("1_Pooling/config.json", "pooling_mode_mean_tokens", false);
  set("1_Pooling/config.json", "pooling_mode_cls_token", true);
  EXPECT_THAT(import_message(), HasSubstr(documents_.string() + ": pooling is \"cls\", but that of "));
}

TEST_F(PretrainedTowers, AnotherTokenizerIsRefused) {
  Json tokenizer = Json::parse(read_bytes(documents_ / "tokenizer.json"));
  tokenizer["normalizer"]["lowercase"] = !tokenizer["normalizer"]["lowercase"].get<bool>();
  write_bytes(documents_ / "tokenizer.json", tokenizer.dump());
  EXPECT_THAT(import_message(),
              HasSubstr(documents_.string() + ": tokenizer.json is another tokenizer than"));
}

TEST_F(PretrainedTowers, AnErrorNamesTheFolderItIsIn) {
  fs::remove(documents_ / "model.safetensors");
  EXPECT_EQ(import_message(), documents_.string() + ": has no model.safetensors");
}

}  // namespace
}  // namespace toller
