#include "checkpoint/pretrained_folder.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <optional>
#include <utility>

#include "checkpoint/pretrained_tokenizer.h"
#include "error.h"
#include "io/strict_json.h"
#include "model/pretrained_architecture.h"

namespace toller {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// What is kept of a folder's settings goes through all checkpoints that come of the model.
constexpr std::size_t kMaxSettings = 16 << 10;

struct Modules {
  std::string transformer;  ///< folder, empty: the model's
  std::optional<std::string> pooling, normalize;
};

/// A folder in the model's folder; empty for that itself.
std::string module_path(const JsonObject& module) {
  const std::string path = module.text("path", "");
  if (path == "." || path == ".." || path.find('/') != std::string::npos ||
      path.find('\0') != std::string::npos) {
    fail("{}: path '{}' is no name of a folder in this folder", module.origin(), path.c_str());
  }
  return path;
}

Modules read_modules(const fs::path& path) {
  constexpr int kDepth = 8;
  const Json list = parse_strict_json(read_small_file(path, 1 << 20), path.string(), kDepth);
  if (!list.is_array() || list.empty()) fail("{}: is not a list of modules", path.string());
  // Their classes have moved within the package from one version to the next.
  const std::string package = "sentence_transformers.";
  constexpr std::array<const char*, 3> kOrder = {"Transformer", "Pooling", "Normalize"};
  Modules modules;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const JsonObject module(list[i], fmt::format("{}: module {}", path.string(), i));
    const std::string type = module.text("type", "");
    const std::string name = type.substr(type.rfind('.') + 1);
    if (!type.starts_with(package) || i >= kOrder.size() || name != kOrder[i]) {
      fail("{}: '{}' is not supported; expected Transformer, Pooling and perhaps Normalize of {}",
           module.origin(), type, package.substr(0, package.size() - 1));
    }
    const std::string folder = module_path(module);
    if (i == 0) modules.transformer = folder;
    if (i == 1) modules.pooling = folder;
    if (i == 2) modules.normalize = folder;
  }
  if (!modules.pooling) fail("{}: has no module Pooling", path.string());
  return modules;
}

/// Versions from 5.4 on have one field, those before a flag for every mode.
Pooling read_pooling(const JsonObject& config, std::int32_t hidden_size) {
  constexpr std::array<std::pair<const char*, Pooling>, 3> kModes = {
      {{"mean", Pooling::kMean}, {"cls", Pooling::kCls}, {"lasttoken", Pooling::kLast}}};
  constexpr std::array<std::pair<const char*, const char*>, 3> kFlags = {
      {{"pooling_mode_mean_tokens", "mean"},
       {"pooling_mode_cls_token", "cls"},
       {"pooling_mode_lasttoken", "lasttoken"}}};
  config.require("include_prompt", true);
  for (const char* field : {"word_embedding_dimension", "embedding_dimension"}) {
    if (config.count(field, hidden_size) != hidden_size) {
      fail("{}: field {} is {}, but the encoder's hidden_size {}", config.origin(), field,
           config.count(field, 0), hidden_size);
    }
  }
  std::string mode = config.text("pooling_mode", "");
  if (mode.empty()) {
    std::vector<std::string> modes;
    for (const auto& [field, value] : config.json().items()) {
      const auto* known = std::ranges::find(kFlags, field, &std::pair<const char*, const char*>::first);
      if (known == kFlags.end() && field.starts_with("pooling_mode_")) config.require(field, false);
    }
    for (const auto& [field, name] : kFlags) {
      if (config.flag(field, std::string_view(name) == "mean")) modes.emplace_back(name);
    }
    if (modes.size() != 1) {
      fail("{}: {} pooling modes ({}), of which one is supported", config.origin(), modes.size(),
           fmt::join(modes, ", "));
    }
    mode = modes.front();
  }
  for (const auto& [name, pooling] : kModes) {
    if (mode == name) return pooling;
  }
  fail("{}: field pooling_mode is '{}', which is not supported; mean, cls and lasttoken are", config.origin(),
       mode);
}

/// The length at which sentence-transformers cuts texts, special tokens included.
std::int64_t read_max_length(const JsonObject& sentences, const Json& tokenizer_config, std::int64_t most) {
  if (sentences.has("max_seq_length")) {
    return std::min<std::int64_t>(sentences.count("max_seq_length"), most);
  }
  return tokenizer_config.contains("model_max_length")
             ? std::min(tokenizer_config["model_max_length"].get<std::int64_t>(), most)
             : most;
}

/// The first of these prompts that there is, as encode_query() and encode_document() choose it.
std::string first_prompt(const JsonObject& prompts, std::initializer_list<const char*> names,
                         const std::string& otherwise) {
  for (const char* name : names) {
    if (prompts.has(name)) return prompts.text(name, "");
  }
  return otherwise;
}

void read_prompts(const fs::path& folder, PretrainedFolder& found) {
  const JsonObject config = JsonObject::of_file_if_there(folder / "config_sentence_transformers.json");
  for (const char* field : {"prompts", "default_prompt_name", "similarity_fn_name"}) {
    if (config.has(field)) found.settings[field] = config.json()[field];
  }
  const JsonObject prompts(found.settings.value("prompts", Json::object()), config.origin() + ": prompts");
  for (const auto& [name, prompt] : prompts.json().items()) prompts.text(name, "");
  const std::string by_default = prompts.text(config.text("default_prompt_name", ""), "");
  found.form.queries.prompt = first_prompt(prompts, {"query"}, by_default);
  found.form.documents.prompt = first_prompt(prompts, {"document", "passage", "corpus"}, by_default);
}

/// Versions from 5.4 on say which of the transformer's results is pooled: {"text": {"method_output_name"}}.
void require_last_hidden_state(const JsonObject& sentences) {
  if (!sentences.has("modality_config")) return;
  const JsonObject modalities(sentences.json()["modality_config"], sentences.origin() + ": modality_config");
  if (!modalities.has("text")) return;
  const JsonObject text(modalities.json()["text"], modalities.origin() + ": text");
  text.require("method", "forward");
  text.require("method_output_name", "last_hidden_state");
}

void read_settings(const fs::path& folder, PretrainedFolder& found) {
  const JsonObject sentences = JsonObject::of_file_if_there(found.transformer / "sentence_bert_config.json");
  sentences.require("transformer_task", "feature-extraction");
  sentences.require("module_output_name", "token_embeddings");
  require_last_hidden_state(sentences);
  found.settings["tokenizer_config"] = read_pretrained_tokenizer_config(found.transformer);
  found.settings["max_seq_length"] =
      read_max_length(sentences, found.settings["tokenizer_config"], found.encoder.max_tokens());
  found.form.queries.max_length = found.form.documents.max_length =
      found.settings["max_seq_length"].get<std::int32_t>();
  if (sentences.flag("do_lower_case", false)) {
    found.settings["do_lower_case"] = true;
    found.notes.emplace_back(
        "sentence_bert_config.json: do_lower_case: Toller leaves lower-casing to the tokenizer");
  }
  read_prompts(folder, found);
  const std::size_t size = found.settings.dump().size();
  if (size > kMaxSettings) {
    fail("{}: prompts and settings of the tokenizer have {} bytes, more than the {} that a checkpoint keeps",
         folder.string(), size, kMaxSettings);
  }
}

/// The settings of the model that was imported in the beginning; an empty object if none was.
JsonObject settings_of(const CheckpointReader& model) {
  const Json* origin = &model.meta().origin;
  while (origin->is_object() && !origin->contains(kPretrainedSettings)) {
    if (origin->contains("init_origin")) {
      origin = &origin->at("init_origin");
      continue;
    }
    const auto sources = origin->find("sources");
    const bool is_fused = sources != origin->end() && sources->is_array() && !sources->empty() &&
                          sources->front().is_object() && sources->front().contains("origin");
    if (!is_fused) break;
    origin = &sources->front().at("origin");
  }
  const bool found = origin->is_object() && origin->contains(kPretrainedSettings);
  return {found ? origin->at(kPretrainedSettings) : Json::object(),
          fmt::format("{}: origin: {}", model.path().string(), kPretrainedSettings)};
}

/// Those that the model was trained with, under the names that encode_query() and encode_document() look for,
/// and what else the imported model had.
Json prompts_of(const TextForm& form, Json prompts) {
  if (!form.queries.prompt.empty() || prompts.contains("query")) prompts["query"] = form.queries.prompt;
  if (!form.documents.prompt.empty() || prompts.contains("document")) {
    prompts["document"] = form.documents.prompt;
  }
  return prompts;
}

nlohmann::ordered_json modules_json(bool normalize) {
  const auto module = [](int index, const char* path, const char* type) {
    return nlohmann::ordered_json{{"idx", index},
                                  {"name", std::to_string(index)},
                                  {"path", path},
                                  {"type", fmt::format("sentence_transformers.models.{}", type)}};
  };
  auto modules =
      nlohmann::ordered_json::array({module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")});
  if (normalize) modules.push_back(module(2, "2_Normalize", "Normalize"));
  return modules;
}

nlohmann::ordered_json pooling_json(const EncoderConfig& encoder) {
  return {{"word_embedding_dimension", encoder.hidden_size},
          {"pooling_mode_cls_token", encoder.pooling == Pooling::kCls},
          {"pooling_mode_mean_tokens", encoder.pooling == Pooling::kMean},
          {"pooling_mode_max_tokens", false},
          {"pooling_mode_mean_sqrt_len_tokens", false},
          {"pooling_mode_weightedmean_tokens", false},
          {"pooling_mode_lasttoken", encoder.pooling == Pooling::kLast},
          {"include_prompt", true}};
}

}  // namespace

PretrainedFolder read_pretrained_folder(const fs::path& folder, const PoolingChoice& choice) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) fail("{}: is not a folder", folder.string());
  PretrainedFolder found;
  found.settings = Json::object();
  Modules modules;
  found.has_modules = is_there(folder / "modules.json");
  if (found.has_modules) modules = read_modules(folder / "modules.json");
  found.transformer = modules.transformer.empty() ? folder : folder / modules.transformer;

  const JsonObject config(found.transformer / "config.json");
  found.encoder = encoder_from_pretrained_config(config);
  if (config.has("pad_token_id")) found.settings["pad_token_id"] = config.count("pad_token_id");
  found.encoder.pooling = choice.pooling;
  found.encoder.normalize = choice.normalize;
  if (modules.pooling) {
    found.encoder.pooling =
        read_pooling(JsonObject(folder / *modules.pooling / "config.json"), found.encoder.hidden_size);
    found.encoder.normalize = modules.normalize.has_value();
  }
  PretrainedTokenizer tokenizer = read_pretrained_tokenizer(found.transformer, found.encoder);
  found.tokenizer_file = std::move(tokenizer.file);
  found.tokenizer = std::move(tokenizer.bytes);
  read_settings(folder, found);
  return found;
}

void write_sentence_transformers_files(const CheckpointReader& model, const std::string& dtype,
                                       const NewFolder& folder) {
  const auto write = [&](const char* name, const nlohmann::ordered_json& json) {
    folder.write(name, json.dump(2) + '\n');
  };
  const CheckpointMeta& meta = model.meta();
  const JsonObject settings = settings_of(model);
  const std::string tokenizer = pretrained_tokenizer_json(model);
  const std::int32_t longest = std::max(meta.form.queries.max_length, meta.form.documents.max_length);
  const std::int32_t max_length =
      longest > 0 ? longest : settings.count("max_seq_length", meta.encoder.max_tokens());

  nlohmann::ordered_json config = pretrained_config_from_encoder(meta.encoder, dtype);
  if (!config.contains("pad_token_id") && settings.has("pad_token_id")) {
    config["pad_token_id"] = settings.count("pad_token_id");
  }
  write("config.json", config);
  write("modules.json", modules_json(meta.encoder.normalize));
  write("1_Pooling/config.json", pooling_json(meta.encoder));
  write("sentence_bert_config.json",
        {{"max_seq_length", max_length}, {"do_lower_case", settings.flag("do_lower_case", false)}});
  const Json& kept = settings.json();
  write("config_sentence_transformers.json",
        {{"prompts", prompts_of(meta.form, kept.value("prompts", Json::object()))},
         {"default_prompt_name", kept.value("default_prompt_name", Json())},
         {"similarity_fn_name",
          kept.value("similarity_fn_name", Json(meta.encoder.normalize ? "cosine" : "dot"))}});
  folder.write("tokenizer.json", tokenizer);
  Json tokenizer_config = default_tokenizer_config(meta.encoder.architecture, tokenizer, max_length);
  tokenizer_config.update(
      JsonObject(kept.value("tokenizer_config", Json::object()), settings.origin() + ": tokenizer_config")
          .json());
  write("tokenizer_config.json", tokenizer_config);
}

}  // namespace toller
