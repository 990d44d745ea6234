// Folders of sentence-transformers in and out. tests/reference/hugging_face_reference.py made the model in
// fixtures/pretrained with transformers, and calculated what it gives.
#include "checkpoint/pretrained_model.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>

#include "checkpoint/pretrained_fixture.h"
#include "temporary_folder.h"
#include "text/tokenizer.h"

namespace toller {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const fs::path kFixture = TOLLER_SOURCE_DIR "/tests/checkpoint/fixtures/pretrained";

/// A copy of the fixture's model that tests change.
class PretrainedModel : public testing::Test {
 protected:
  PretrainedModel() { fs::copy(kFixture / "model", model_, fs::copy_options::recursive); }

  ImportReport import(const PoolingChoice& choice = {}) {
    return import_pretrained({.folder = model_, .choice = choice}, out_);
  }
  /// What import says, without the model's folder.
  std::string import_message() {
    const std::string text = message_of([&] { import(); });
    const std::string folder = model_.string() + "/";
    EXPECT_FALSE(fs::exists(out_));
    return text.starts_with(folder) ? text.substr(folder.size()) : text;
  }

  Json read(const std::string& name) const { return Json::parse(read_bytes(model_ / name)); }
  void write(const std::string& name, const Json& json) { write_bytes(model_ / name, json.dump()); }
  void set(const std::string& name, const char* field, const Json& value) {
    Json json = read(name);
    json[field] = value;
    write(name, json);
  }

  struct Weights {
    std::vector<SafetensorsEntry> entries;
    std::vector<std::vector<float>> values;
  };
  Weights weights() const {
    const SafetensorsReader reader(model_ / "model.safetensors");
    Weights all;
    for (const auto& [name, info] : reader.tensors()) {
      all.entries.push_back({name, info.shape});
      all.values.push_back(values_of(reader, name));
    }
    return all;
  }
  void write_weights(const Weights& weights, const char* name = "model.safetensors") {
    fs::remove(model_ / name);
    SafetensorsWriter writer(model_ / name, SafetensorsType::kFloat32, weights.entries);
    for (const auto& values : weights.values) writer.append(values);
    writer.close();
  }
  /// Writes the weights with other names.
  void rename_weights(const std::function<std::string(std::string)>& rename) {
    Weights all = weights();
    for (SafetensorsEntry& entry : all.entries) entry.name = rename(entry.name);
    write_weights(all);
  }
  void add_weight(const std::string& name) {
    Weights all = weights();
    all.entries.push_back({name, {1}});
    all.values.push_back({0});
    write_weights(all);
  }
  void expect_fixture_parameters() { expect_parameters_of(CheckpointReader(out_), kFixture); }

  TemporaryFolder folder_;
  const fs::path model_ = folder_ / "model", out_ = folder_ / "model.h5", exported_ = folder_ / "exported";
};

TEST_F(PretrainedModel, GivesWhatTransformersGives) {
  const ImportReport report = import();
  EXPECT_EQ(report.unused, (std::vector<std::string>{"pooler.dense.bias", "pooler.dense.weight"}));
  EXPECT_TRUE(report.folder.notes.empty());
  const CheckpointReader model(out_);
  EXPECT_EQ(model.meta().encoder.pooling, Pooling::kMean);
  EXPECT_TRUE(model.meta().encoder.normalize);
  EXPECT_FALSE(model.has_optimizer());
  EXPECT_EQ(model.meta().tokenizer, Tokenizer::load(model_ / "tokenizer.json").bytes());
  expect_fixture_parameters();
  expect_transformers_results<float>(model, kFixture, 1e-5);
  expect_transformers_results<double>(model, kFixture, 1e-9);
}

TEST_F(PretrainedModel, NamesOfOldFilesAndOfModelsWithHeads) {
  rename_weights([](std::string name) {
    for (const auto& [now, old] :
         {std::pair("LayerNorm.weight", "LayerNorm.gamma"), std::pair("LayerNorm.bias", "LayerNorm.beta")}) {
      if (name.ends_with(now)) name.replace(name.size() - std::string_view(now).size(), name.npos, old);
    }
    return "bert." + name;
  });
  add_weight("cls.predictions.bias");
  EXPECT_EQ(import().unused, (std::vector<std::string>{"bert.pooler.dense.bias", "bert.pooler.dense.weight",
                                                       "cls.predictions.bias"}));
  expect_fixture_parameters();
}

TEST_F(PretrainedModel, Shards) {
  const Weights all = weights();
  Json map;
  std::array<Weights, 2> shards;
  const std::array<const char*, 2> names = {"model-1.safetensors", "model-2.safetensors"};
  for (std::size_t i = 0; i < all.entries.size(); ++i) {
    shards[i % 2].entries.push_back(all.entries[i]);
    shards[i % 2].values.push_back(all.values[i]);
    map[all.entries[i].name] = names[i % 2];
  }
  for (std::size_t i = 0; i < 2; ++i) write_weights(shards[i], names[i]);
  fs::remove(model_ / "model.safetensors");
  write("model.safetensors.index.json", {{"weight_map", map}});
  EXPECT_EQ(import().files.size(), 2U);
  expect_fixture_parameters();
}

TEST_F(PretrainedModel, NamesTheTensorThatIsWrong) {
  const std::string file = "model.safetensors: tensor ";
  const std::string bias = "encoder.layer.1.output.dense.bias";
  const auto with_name = [&](const std::string& name) {
    return [&, name](const std::string& old) { return old == bias ? name : old; };
  };
  rename_weights(with_name("encoder.layer.2.output.dense.bias"));
  EXPECT_EQ(import_message(), file + "encoder.layer.2.output.dense.bias: is no tensor of this encoder");
  rename_weights(
      [&](const std::string& old) { return old.starts_with("encoder.layer.2") ? "pooler.x" : old; });
  EXPECT_EQ(import_message(), file + bias + " is missing");
  rename_weights([&](const std::string& old) { return old == "pooler.x" ? "bert." + bias : old; });
  add_weight(bias);
  EXPECT_EQ(import_message(), file + bias + ": and bert." + bias + " cannot both be " + bias);
}

TEST_F(PretrainedModel, NamesTheTensorOfAnotherShape) {
  set("config.json", "vocab_size", 38);
  EXPECT_EQ(
      import_message(),
      "model.safetensors: tensor embeddings.word_embeddings.weight: has shape [37, 16], but config.json "
      "makes it [38, 16]");
  set("config.json", "vocab_size", 37);
  set("config.json", "num_hidden_layers", 2000000000);
  EXPECT_EQ(import_message(), "config.json: 2000000000 layers, but the weights have 39 tensors");
}

TEST_F(PretrainedModel, NamesAValueThatIsNotFinite) {
  std::string bytes = read_bytes(model_ / "model.safetensors");
  const SafetensorsReader reader(model_ / "model.safetensors");
  const std::uint64_t place = reader.info("encoder.layer.0.intermediate.dense.weight").begin + 4 * 21;
  bytes.replace(place, 4, std::string("\0\0\x80\xff", 4));
  write_bytes(model_ / "model.safetensors", bytes);
  EXPECT_EQ(import_message(),
            "model.safetensors: tensor encoder.layer.0.intermediate.dense.weight: element 21 is -inf");
}

TEST_F(PretrainedModel, MissingFiles) {
  fs::rename(model_ / "model.safetensors", model_ / "pytorch_model.bin");
  EXPECT_NE(message_of([&] { import(); }).find("has no model.safetensors; pytorch_model.bin can hold code"),
            std::string::npos);
  fs::remove(model_ / "tokenizer.json");
  fs::remove(model_ / "vocab.txt");
  EXPECT_NE(message_of([&] { import(); }).find("has neither tokenizer.json nor vocab.txt"),
            std::string::npos);
  fs::remove(model_ / "config.json");
  EXPECT_EQ(import_message(), "config.json: there is no such file");
  EXPECT_NE(message_of([&] {
              import_pretrained({.folder = folder_ / "none"}, out_);
            }).find("none: is not a folder"),
            std::string::npos);
}

TEST_F(PretrainedModel, WithoutModulesPoolingIsTheUsersChoice) {
  fs::remove(model_ / "modules.json");
  EXPECT_FALSE(import().folder.has_modules);
  EXPECT_EQ(CheckpointReader(out_).meta().encoder.pooling, Pooling::kMean);
  EXPECT_FALSE(CheckpointReader(out_).meta().encoder.normalize);
  import({Pooling::kCls, true});
  EXPECT_EQ(CheckpointReader(out_).meta().encoder.pooling, Pooling::kCls);
  EXPECT_TRUE(CheckpointReader(out_).meta().encoder.normalize);
}

Json module_list(const std::vector<std::pair<std::string, std::string>>& modules) {
  Json list = Json::array();
  for (const auto& [path, type] : modules) list.push_back({{"path", path}, {"type", type}});
  return list;
}

TEST_F(PretrainedModel, ModulesOfNewAndOldVersions) {
  // The transformer in a folder of its own, as the first versions had it; the classes' names of the newest.
  fs::create_directory(model_ / "0_Transformer");
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}) {
    fs::rename(model_ / name, model_ / "0_Transformer" / name);
  }
  write("modules.json",
        module_list({{"0_Transformer", "sentence_transformers.base.modules.transformer.Transformer"},
                     {"1_Pooling", "sentence_transformers.sentence_transformer.modules.pooling.Pooling"}}));
  write("1_Pooling/config.json", {{"embedding_dimension", 16}, {"pooling_mode", "lasttoken"}});
  import();
  const CheckpointReader model(out_);
  EXPECT_EQ(model.meta().encoder.pooling, Pooling::kLast);
  EXPECT_FALSE(model.meta().encoder.normalize);
}

TEST_F(PretrainedModel, NamesModulesThatAreNotSupported) {
  const std::string transformer = "sentence_transformers.models.Transformer";
  const std::string pooling = "sentence_transformers.models.Pooling";
  const std::string expected =
      "' is not supported; expected Transformer, Pooling and perhaps Normalize of sentence_transformers";
  const auto message = [&](const std::vector<std::pair<std::string, std::string>>& modules) {
    write("modules.json", module_list(modules));
    return import_message();
  };
  const std::string dense = "sentence_transformers.models.Dense";
  EXPECT_EQ(message({{"", transformer}, {"1_Pooling", pooling}, {"2_Dense", dense}}),
            "modules.json: module 2: '" + dense + expected);
  EXPECT_EQ(message({{"", "custom.Transformer"}, {"1_Pooling", pooling}}),
            "modules.json: module 0: 'custom.Transformer" + expected);
  EXPECT_EQ(message({{"1_Pooling", pooling}, {"", transformer}}),
            "modules.json: module 0: '" + pooling + expected);
  EXPECT_EQ(message({{"", transformer}}), "modules.json: has no module Pooling");
  EXPECT_EQ(message({{"../model", transformer}, {"1_Pooling", pooling}}),
            "modules.json: module 0: path '../model' is no name of a folder in this folder");
  EXPECT_NE(message({{std::string(5000, 'x'), transformer}, {"1_Pooling", pooling}}).find("there is no such"),
            std::string::npos);
  write("modules.json", Json::object());
  EXPECT_EQ(import_message(), "modules.json: is not a list of modules");
}

TEST_F(PretrainedModel, NamesPoolingThatIsNotSupported) {
  const std::string file = "1_Pooling/config.json: ";
  const auto message = [&](const Json& config) {
    write("1_Pooling/config.json", config);
    return import_message();
  };
  EXPECT_EQ(message({{"pooling_mode_mean_tokens", false}, {"pooling_mode_max_tokens", true}}),
            file + "field pooling_mode_max_tokens is true, which is not supported; false is");
  EXPECT_EQ(message({{"pooling_mode_cls_token", true}}),
            file + "2 pooling modes (mean, cls), of which one is supported");
  EXPECT_EQ(message({{"pooling_mode_mean_tokens", false}}),
            file + "0 pooling modes (), of which one is supported");
  EXPECT_EQ(message({{"pooling_mode", "max"}}),
            file + "field pooling_mode is 'max', which is not supported; mean, cls and lasttoken are");
  EXPECT_EQ(message({{"include_prompt", false}}),
            file + "field include_prompt is false, which is not supported; true is");
  EXPECT_EQ(message({{"word_embedding_dimension", 17}}),
            file + "field word_embedding_dimension is 17, but the encoder's hidden_size 16");
}

TEST_F(PretrainedModel, NamesSettingsThatAreNotSupported) {
  set("sentence_bert_config.json", "transformer_task", "fill-mask");
  EXPECT_EQ(import_message(),
            "sentence_bert_config.json: field transformer_task is \"fill-mask\", which is not supported; "
            "\"feature-extraction\" is");
  write("sentence_bert_config.json",
        {{"modality_config", {{"text", {{"method_output_name", "pooler_output"}}}}}});
  EXPECT_EQ(
      import_message(),
      "sentence_bert_config.json: modality_config: text: field method_output_name is \"pooler_output\", "
      "which is not supported; \"last_hidden_state\" is");
  write("sentence_bert_config.json", {{"do_lower_case", true}});
  set("tokenizer_config.json", "auto_map", {{"AutoTokenizer", {"x.Y", nullptr}}});
  EXPECT_EQ(import_message(),
            "tokenizer_config.json: field auto_map ({\"AutoTokenizer\":[\"x.Y\",null]}) is not supported");
  set("tokenizer_config.json", "auto_map", nullptr);
  write("config_sentence_transformers.json", {{"prompts", {{"query", 7}}}});
  EXPECT_EQ(import_message(),
            "config_sentence_transformers.json: prompts: field query is 7, expected a text");
  write("config_sentence_transformers.json", {{"prompts", {{"query", std::string(20000, 'x')}}}});
  EXPECT_NE(message_of([&] { import(); }).find("more than the 16384 that a checkpoint keeps"),
            std::string::npos);
  write("config_sentence_transformers.json", Json::object());
  const ImportReport report = import();
  ASSERT_EQ(report.folder.notes.size(), 1U);
  EXPECT_TRUE(report.folder.notes[0].starts_with("sentence_bert_config.json: do_lower_case"));
}

TEST_F(PretrainedModel, PromptsAreThoseOfSentenceTransformersSides) {
  const auto form_with = [&](const Json& prompts, const Json& by_default) {
    write("config_sentence_transformers.json", {{"prompts", prompts}, {"default_prompt_name", by_default}});
    import();
    return CheckpointReader(out_).meta().form;
  };
  set("sentence_bert_config.json", "max_seq_length", 12);
  const TextForm none{{"", 12}, {"", 12}};
  EXPECT_EQ(form_with(Json::object(), nullptr), none);
  EXPECT_EQ(form_with({{"clustering", "cluster: "}}, nullptr), none);
  EXPECT_EQ(form_with({{"query", "q: "}, {"passage", "p: "}}, nullptr), (TextForm{{"q: ", 12}, {"p: ", 12}}));
  EXPECT_EQ(form_with({{"document", "d: "}, {"passage", "p: "}}, nullptr), (TextForm{{"", 12}, {"d: ", 12}}));
  // The default goes before whatever has no prompt of its own.
  EXPECT_EQ(form_with({{"query", "q: "}, {"other", "o: "}}, "other"), (TextForm{{"q: ", 12}, {"o: ", 12}}));
}

TEST_F(PretrainedModel, AVocabularyAloneComesWithItsConfig) {
  const std::string with_json = Tokenizer::load(model_ / "tokenizer.json").bytes();
  fs::remove(model_ / "tokenizer.json");
  EXPECT_EQ(import().folder.tokenizer_file, "vocab.txt");
  const CheckpointReader model(out_);
  EXPECT_EQ(model.meta().tokenizer, with_json);
  export_sentence_transformers(model, Side::kQueries, SafetensorsType::kFloat32, exported_);
  EXPECT_EQ(read_bytes(exported_ / "tokenizer.json"), with_json);
  set("tokenizer_config.json", "do_lower_case", false);
  import();
  const std::string cased = CheckpointReader(out_).meta().tokenizer;
  EXPECT_FALSE(Json::parse(cased)["normalizer"]["lowercase"].get<bool>());
}

TEST_F(PretrainedModel, ATokenizerWithoutRowsInTheTableIsRefused) {
  write_bytes(model_ / "tokenizer.json", [&] {
    Json tokenizer = read("tokenizer.json");
    tokenizer["model"]["vocab"]["one-more"] = 37;
    return tokenizer.dump();
  }());
  EXPECT_EQ(import_message(), "tokenizer.json: has 38 pieces, but config.json a vocab_size of 37");
}

TEST_F(PretrainedModel, ExportGivesBackWhatCameIn) {
  write("config_sentence_transformers.json", {{"prompts", {{"query", "query: "}, {"document", ""}}},
                                              {"default_prompt_name", nullptr},
                                              {"similarity_fn_name", "dot"}});
  set("config.json", "pad_token_id", 5);
  set("sentence_bert_config.json", "max_seq_length", 12);
  import();
  export_sentence_transformers(CheckpointReader(out_), Side::kQueries, SafetensorsType::kFloat32, exported_);
  const SafetensorsReader before(model_ / "model.safetensors"), after(exported_ / "model.safetensors");
  EXPECT_EQ(after.tensors().size() + 2, before.tensors().size());  // pooler.dense.weight and bias
  for (const auto& [name, info] : after.tensors()) {
    EXPECT_EQ(info.dtype, "F32");
    EXPECT_EQ(info.shape, before.info(name).shape) << name;
    EXPECT_EQ(values_of(after, name), values_of(before, name)) << name;
  }
  EXPECT_EQ(read_bytes(exported_ / "tokenizer.json"), Tokenizer::load(model_ / "tokenizer.json").bytes());
  const auto exported = [&](const char* name) { return Json::parse(read_bytes(exported_ / name)); };
  EXPECT_EQ(exported("config.json")["pad_token_id"], 5);
  EXPECT_EQ(exported("sentence_bert_config.json")["max_seq_length"], 12);
  const Json prompts = exported("config_sentence_transformers.json");
  EXPECT_EQ(prompts["prompts"]["query"], "query: ");
  EXPECT_EQ(prompts["similarity_fn_name"], "dot");
  EXPECT_EQ(exported("tokenizer_config.json")["tokenizer_class"],
            read("tokenizer_config.json")["tokenizer_class"]);
  EXPECT_EQ(exported("tokenizer_config.json")["unk_token"], "[UNK]");

  // And what was exported can be imported.
  const fs::path again = folder_ / "again.h5";
  import_pretrained({.folder = exported_}, again);
  const CheckpointReader first(out_), second(again);
  EXPECT_EQ(to_json(second.meta().encoder), to_json(first.meta().encoder));
  Json settings = first.meta().origin[kPretrainedSettings];
  EXPECT_FALSE(settings["tokenizer_config"].contains("model_max_length"));  // none: a number of 31 digits
  settings["tokenizer_config"]["model_max_length"] = 12;
  EXPECT_EQ(second.meta().origin[kPretrainedSettings], settings);
}

TEST_F(PretrainedModel, ExportInNarrowTypes) {
  import();
  const SafetensorsReader before(model_ / "model.safetensors");
  for (const auto& [name, dtype, torch_name, unit] :
       {std::tuple("bf16", "BF16", "bfloat16", 0x1p-8F), std::tuple("fp16", "F16", "float16", 0x1p-11F)}) {
    fs::remove_all(exported_);
    export_sentence_transformers(CheckpointReader(out_), Side::kQueries,
                                 export_type_from_name("--dtype", name), exported_);
    EXPECT_EQ(Json::parse(read_bytes(exported_ / "config.json"))["dtype"], torch_name);
    const SafetensorsReader after(exported_ / "model.safetensors");
    for (const auto& [tensor, info] : after.tensors()) {
      EXPECT_EQ(info.dtype, dtype);
      const std::vector<float> exact = values_of(before, tensor), rounded = values_of(after, tensor);
      for (std::size_t i = 0; i < exact.size(); ++i) {
        ASSERT_NEAR(rounded[i], exact[i], unit * std::abs(exact[i]) + 0x1p-25F) << tensor;
      }
    }
  }
  EXPECT_EQ(message_of<UsageError>([] { export_type_from_name("--dtype", "int8"); }),
            "--dtype 'int8' is unknown; choose fp32, bf16, fp16");
}

TEST_F(PretrainedModel, AFailedExportLeavesNothing) {
  Weights large = weights();
  for (std::size_t i = 0; i < large.entries.size(); ++i) {
    if (large.entries[i].name == "encoder.layer.1.output.LayerNorm.weight") large.values[i][3] = 70000;
  }
  write_weights(large);
  import();
  const auto files = folder_.entries().size();
  EXPECT_NE(message_of([&] {
              export_sentence_transformers(CheckpointReader(out_), Side::kQueries, SafetensorsType::kFloat16,
                                           exported_);
            }).find("tensor encoder.layer.1.output.LayerNorm.weight: element 3 is 70000, too large for F16"),
            std::string::npos);
  EXPECT_EQ(folder_.entries().size(), files);
}

TEST_F(PretrainedModel, TrainedAndFusedModelsKeepTheSettings) {
  set("sentence_bert_config.json", "max_seq_length", 12);
  import();
  const CheckpointReader imported(out_);
  const auto exported_length = [&](const Json& origin, const std::string& tokenizer) {
    CheckpointMeta meta = imported.meta();
    meta.origin = origin;
    meta.tokenizer = tokenizer;
    meta.form = {};  // as in checkpoints from before there were prompts
    std::vector<float> parameters(static_cast<std::size_t>(imported.table().size()));
    imported.read_parameters(std::span(parameters));
    write_checkpoint<float>(folder_ / "other.h5", meta, imported.table(), parameters, {}, {});
    fs::remove_all(exported_);
    export_sentence_transformers(CheckpointReader(folder_ / "other.h5"), Side::kQueries,
                                 SafetensorsType::kFloat32, exported_);
    return Json::parse(read_bytes(exported_ / "sentence_bert_config.json"))["max_seq_length"].get<int>();
  };
  const Json origin = imported.meta().origin, trained = {{"method", "train"}, {"init_origin", origin}};
  const std::string tokenizer = imported.meta().tokenizer;
  EXPECT_EQ(exported_length(trained, tokenizer), 12);
  EXPECT_EQ(exported_length({{"sources", {{{"path", "a"}, {"origin", trained}}}}}, tokenizer), 12);
  EXPECT_EQ(exported_length({{"method", "train"}}, tokenizer), 20);
  EXPECT_EQ(exported_length(nullptr, tokenizer), 20);
}

}  // namespace
}  // namespace toller
