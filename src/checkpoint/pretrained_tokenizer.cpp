#include "checkpoint/pretrained_tokenizer.h"

#include <array>
#include <optional>
#include <utility>

#include "error.h"
#include "io/strict_json.h"
#include "model/pretrained_architecture.h"
#include "text/tokenizer.h"

namespace toller {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kSentencePieceFile = "sentencepiece.bpe.model";
constexpr std::array<const char*, 5> kSpecialTokens = {"unk_token", "sep_token", "pad_token", "cls_token",
                                                       "mask_token"};
constexpr std::array<const char*, 5> kTokenizerFields = {"tokenizer_class", "do_lower_case", "strip_accents",
                                                         "tokenize_chinese_chars", "model_input_names"};
/// Tokens of a text, in tokenizer_config.json; a larger number stands for none.
constexpr std::uint64_t kMaxLength = 1'000'000'000;

/// A special token is a text, or an object with the text in it.
void copy_special_token(const JsonObject& from, const char* field, Json& to) {
  if (!from.has(field) || to.contains(field)) return;
  const Json& token = from.json()[field];
  const Json& text = token.is_object() ? token.value("content", Json()) : token;
  if (!text.is_string()) fail("{}: field {} is not a text", from.origin(), field);
  to[field] = text;
}

/// A class of transformers that takes a tokenizer.json of any kind as it is, with the tokens around a text
/// that are named there.
Json settings_of_the_file(const Json& tokenizer) {
  const Json& model = tokenizer.at("model");
  Json settings = {{"tokenizer_class", "PreTrainedTokenizerFast"}};
  if (model.contains("unk_id")) {
    settings["unk_token"] = model.at("vocab").at(model.at("unk_id").get<std::size_t>()).at(0);
  } else if (model.contains("unk_token")) {
    settings["unk_token"] = model.at("unk_token");
  }
  const Json& parts = tokenizer.at("post_processor").at("single");
  const auto token_of = [](const Json& part) { return part.at("SpecialToken").at("id"); };
  if (parts.size() == 3) settings["cls_token"] = token_of(parts.front());
  settings["sep_token"] = token_of(parts.back());
  // A batch cannot be made without; which token it is makes no difference.
  const Json& padding = tokenizer.at("padding");
  settings["pad_token"] = padding.is_null() ? settings["sep_token"] : padding.at("pad_token");
  return settings;
}

}  // namespace

PretrainedTokenizer read_pretrained_tokenizer(const fs::path& folder, const EncoderConfig& encoder) {
  for (const std::string name : {"tokenizer.json", "vocab.txt", kSentencePieceFile}) {
    const fs::path path = folder / name;
    if (!is_there(path)) continue;
    const bool is_sentencepiece = name == kSentencePieceFile;
    if (is_sentencepiece && encoder.architecture != Architecture::kXlmRoberta) continue;
    const Tokenizer tokenizer =
        is_sentencepiece ? Tokenizer::load_xlm_roberta(path.string()) : Tokenizer::load(path.string());
    if (tokenizer.vocabulary_size() > encoder.vocabulary_size) {
      fail("{}: has {} pieces, but config.json a vocab_size of {}", path.string(),
           tokenizer.vocabulary_size(), encoder.vocabulary_size);
    }
    return {name, tokenizer.bytes()};
  }
  fail("{}: has neither tokenizer.json nor vocab.txt{}; AutoTokenizer of transformers writes the former",
       folder.string(),
       encoder.architecture == Architecture::kXlmRoberta ? fmt::format(" nor {}", kSentencePieceFile) : "");
}

Json read_pretrained_tokenizer_config(const fs::path& folder) {
  const JsonObject config = JsonObject::of_file_if_there(folder / "tokenizer_config.json");
  config.require_absent("auto_map");
  Json kept = Json::object();
  for (const char* field : kTokenizerFields) {
    if (config.has(field)) kept[field] = config.json()[field];
  }
  // Where there is none, transformers writes a number of 31 digits.
  const Json length = config.json().value("model_max_length", Json());
  const bool is_length = length.is_number_unsigned() && length.get<std::uint64_t>() <= kMaxLength;
  if (is_length) kept["model_max_length"] = length;
  for (const char* field : kSpecialTokens) copy_special_token(config, field, kept);
  const JsonObject special = JsonObject::of_file_if_there(folder / "special_tokens_map.json");
  for (const char* field : kSpecialTokens) copy_special_token(special, field, kept);
  return kept;
}

std::string pretrained_tokenizer_json(const CheckpointReader& model) {
  const std::string& bytes = model.meta().tokenizer;
  if (bytes.empty()) fail("{}: holds no tokenizer, so it cannot be exported", model.path().string());
  return as_tokenizer_json(bytes, model.path().string());
}

Json default_tokenizer_config(Architecture architecture, const std::string& tokenizer_json,
                              std::int64_t max_length) {
  const Json tokenizer = Json::parse(tokenizer_json);
  const std::string kind = tokenizer.at("model").at("type");
  const std::optional<Json> known = default_tokenizer_settings(architecture, kind);
  Json config = known ? *known : settings_of_the_file(tokenizer);
  config["model_max_length"] = max_length;
  const Json& normalizer = tokenizer.at("normalizer");
  if (!normalizer.is_object() || normalizer.value("type", Json()) != "BertNormalizer") return config;
  config["do_lower_case"] = normalizer.value("lowercase", Json(true));
  config["strip_accents"] = normalizer.value("strip_accents", Json());
  config["tokenize_chinese_chars"] = normalizer.value("handle_chinese_chars", Json(true));
  return config;
}

}  // namespace toller
