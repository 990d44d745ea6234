#include "text/wordpiece_file.h"

#include <algorithm>

#include "error.h"
#include "text/unicode.h"

namespace toller {
namespace {

using Json = nlohmann::json;

BertNormalizerOptions read_normalizer(const JsonFields& fields) {
  fields.expect("type", "BertNormalizer");
  fields.only({"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"});
  return {fields.flag("clean_text", true), fields.flag("handle_chinese_chars", true),
          fields.optional_flag("strip_accents"), fields.flag("lowercase", true)};
}

void read_model(const JsonFields& fields, WordPieceSettings& settings) {
  fields.expect("type", "WordPiece");
  fields.only({"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"});
  settings.unknown = fields.text("unk_token");
  settings.continuing_prefix = fields.text("continuing_subword_prefix");
  settings.max_characters_of_word = fields.number("max_input_chars_per_word");
  settings.vocabulary = read_vocabulary(fields);
}

/// Special tokens of a vocabulary as transformers' BERT tokenizers add them; those that are missing are left
/// out here.
void add_special_tokens(WordPieceSettings& settings, const std::string& mask) {
  TokenizerFrame& frame = settings.frame;
  for (const std::string& content : {frame.pad, settings.unknown, frame.begin, frame.end, mask}) {
    const auto found = settings.vocabulary.find(content);
    const auto is_same = [&content](const AddedToken& token) { return token.content == content; };
    const bool is_piece = !content.empty() && found != settings.vocabulary.end();
    if (!is_piece || std::ranges::any_of(frame.added, is_same)) continue;
    frame.added.push_back({.id = found->second, .content = content, .special = true});
  }
}

/// A special token of tokenizer_config.json: a text, or an object with the text as its content.
std::string configured_token(const JsonFields& config, const char* name, const std::string& otherwise) {
  if (!config.has(name)) return otherwise;
  return config.get(name).is_object() ? config.object(name).text("content") : config.text(name);
}

std::string_view without_trailing_space(std::string_view line) {
  for (std::size_t position = line.size(); position > 0;) {
    if (!is_space(previous_character(line, position))) break;
    line = line.substr(0, position);
  }
  return line;
}

}  // namespace

WordPieceSettings read_wordpiece_json(const JsonFields& root) {
  WordPieceSettings settings;
  read_model(root.object("model"), settings);
  settings.frame = read_tokenizer_frame(root, settings.vocabulary);
  settings.normalizer = read_normalizer(root.object("normalizer"));
  const JsonFields pre_tokenizer = root.object("pre_tokenizer");
  pre_tokenizer.expect("type", "BertPreTokenizer");
  pre_tokenizer.only({"type"});
  return settings;
}

WordPieceSettings read_wordpiece_vocabulary(std::string_view text, const std::string& origin,
                                            std::string_view config, const std::string& config_origin) {
  if (const std::int64_t invalid = find_invalid_utf8(text); invalid >= 0) {
    fail("{}: not a vocabulary: byte {} is not UTF-8", origin, invalid);
  }
  WordPieceSettings settings;
  std::int32_t line = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    settings.vocabulary[std::string(without_trailing_space(text.substr(0, end)))] = line++;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  const Json json = parse_tokenizer_json(config, config_origin);
  const JsonFields fields(json, config_origin);
  if (fields.has("do_basic_tokenize")) fields.expect("do_basic_tokenize", true);
  if (fields.has("never_split")) fields.expect("never_split", Json::array());
  settings.normalizer.lowercase = fields.flag("do_lower_case", true);
  settings.normalizer.handle_chinese_chars = fields.flag("tokenize_chinese_chars", true);
  settings.normalizer.strip_accents = fields.optional_flag("strip_accents");
  settings.unknown = configured_token(fields, "unk_token", settings.unknown);
  settings.frame.begin = configured_token(fields, "cls_token", "[CLS]");
  settings.frame.end = configured_token(fields, "sep_token", "[SEP]");
  settings.frame.pad = configured_token(fields, "pad_token", "[PAD]");
  if (!settings.vocabulary.contains(settings.frame.pad)) settings.frame.pad.clear();
  add_special_tokens(settings, configured_token(fields, "mask_token", "[MASK]"));
  return settings;
}

std::string write_wordpiece_json(const WordPieceSettings& settings, const SpecialTokens& special) {
  const std::optional<bool> strip_accents = settings.normalizer.strip_accents;
  return write_tokenizer_json(
      settings.frame, special,
      {.normalizer = {{"type", "BertNormalizer"},
                      {"clean_text", settings.normalizer.clean_text},
                      {"handle_chinese_chars", settings.normalizer.handle_chinese_chars},
                      {"strip_accents", strip_accents ? Json(*strip_accents) : Json()},
                      {"lowercase", settings.normalizer.lowercase}},
       .pre_tokenizer = {{"type", "BertPreTokenizer"}},
       .decoder = {{"type", "WordPiece"}, {"prefix", settings.continuing_prefix}, {"cleanup", true}},
       .model = {{"type", "WordPiece"},
                 {"unk_token", settings.unknown},
                 {"continuing_subword_prefix", settings.continuing_prefix},
                 {"max_input_chars_per_word", settings.max_characters_of_word}},
       .vocabulary = vocabulary_text(settings.vocabulary)});
}

}  // namespace toller
