#include "text/wordpiece_file.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>

#include "error.h"
#include "text/unicode.h"

namespace toller {
namespace {

using Json = nlohmann::json;

Json parse(std::string_view text, const std::string& origin) {
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    fail("{}: not JSON: {}", origin, error.what());
  }
}

/// An object of a file and its place there; every value is checked when it is read.
class Fields {
 public:
  Fields(const Json& value, std::string origin, std::string path)
      : value_(value), origin_(std::move(origin)), path_(std::move(path)) {
    if (!value_.is_object()) fail("{}: {} is {}, expected an object", origin_, path_, shown(value_));
  }

  bool has(const char* name) const { return value_.contains(name) && !value_.at(name).is_null(); }

  const Json& get(const char* name) const {
    if (!value_.contains(name)) fail("{}: {} is missing", origin_, place(name));
    return value_.at(name);
  }
  Fields object(const char* name) const { return {get(name), origin_, place(name)}; }

  /// Of a list.
  Fields element(const char* name, std::size_t index) const {
    return {get(name).at(index), origin_, fmt::format("{}[{}]", place(name), index)};
  }

  std::string text(const char* name) const {
    if (!get(name).is_string()) refuse(name, "expected a text");
    return get(name).get<std::string>();
  }
  bool flag(const char* name) const {
    if (!get(name).is_boolean()) refuse(name, "expected true or false");
    return get(name).get<bool>();
  }
  bool flag(const char* name, bool otherwise) const { return has(name) ? flag(name) : otherwise; }
  std::optional<bool> optional_flag(const char* name) const {
    return has(name) ? std::optional(flag(name)) : std::nullopt;
  }
  /// A number from 0 that fits 32 bits.
  std::int32_t number(const char* name) const {
    const Json& value = get(name);
    if (!value.is_number_unsigned() ||
        value.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max())) {
      refuse(name, "expected a number from 0 to 2147483647");
    }
    return value.get<std::int32_t>();
  }

  void expect(const char* name, const Json& expected) const {
    if (get(name) != expected) refuse(name, fmt::format("supported is {}", expected.dump()));
  }
  /// Throws at a field that is not among these: what it asks for would not be done.
  void only(std::initializer_list<const char*> known) const {
    for (const auto& [name, value] : value_.items()) {
      if (std::ranges::find(known, name) == known.end()) {
        fail("{}: {} is not supported", origin_, place(name));
      }
    }
  }
  [[noreturn]] void refuse(const char* name, const std::string& expected) const {
    fail("{}: {} is {}, {}", origin_, place(name), shown(get(name)), expected);
  }

  const Json& value() const { return value_; }

 private:
  std::string place(const std::string& name) const { return path_.empty() ? name : path_ + "." + name; }
  static std::string shown(const Json& value) {
    if (value.is_structured()) return value.is_array() ? "a list" : "an object";
    const std::string text = value.dump();
    return text.size() > 60 ? text.substr(0, 60) + "…" : text;
  }

  const Json& value_;
  std::string origin_, path_;
};

BertNormalizerOptions read_normalizer(const Fields& fields) {
  fields.expect("type", "BertNormalizer");
  fields.only({"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"});
  return {fields.flag("clean_text", true), fields.flag("handle_chinese_chars", true),
          fields.optional_flag("strip_accents"), fields.flag("lowercase", true)};
}

std::map<std::string, std::int32_t> read_vocabulary(const Fields& fields) {
  std::map<std::string, std::int32_t> vocabulary;
  for (const auto& [piece, id] : fields.value().items()) {
    vocabulary.emplace_hint(vocabulary.end(), piece, fields.number(piece.c_str()));
  }
  return vocabulary;
}

void read_model(const Fields& fields, WordPieceSettings& settings) {
  fields.expect("type", "WordPiece");
  fields.only({"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"});
  settings.unknown = fields.text("unk_token");
  settings.continuing_prefix = fields.text("continuing_subword_prefix");
  settings.max_characters_of_word = fields.number("max_input_chars_per_word");
  settings.vocabulary = read_vocabulary(fields.object("vocab"));
}

AddedToken read_added_token(const Fields& fields) {
  fields.only({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  return {fields.number("id"),   fields.text("content"),    fields.flag("single_word"), fields.flag("lstrip"),
          fields.flag("rstrip"), fields.flag("normalized"), fields.flag("special")};
}

/// ["[CLS]", 101] of a BertProcessing.
std::string read_named_id(const Fields& fields, const char* name, const WordPieceSettings& settings) {
  const Json& pair = fields.get(name);
  if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string())
    fields.refuse(name, "expected [text, id]");
  std::string token = pair[0].get<std::string>();
  const auto found = settings.vocabulary.find(token);
  if (found == settings.vocabulary.end() || pair[1] != found->second) {
    fields.refuse(name, "whose id is not the vocabulary's");
  }
  return token;
}

/// The token of part `index` of a template, {"SpecialToken": {"id": …, "type_id": 0}}.
std::string read_template_token(const Fields& post, std::size_t index, const WordPieceSettings& settings) {
  const Fields part = post.element("single", index);
  part.only({"SpecialToken"});
  const Fields special = part.object("SpecialToken");
  special.only({"id", "type_id"});
  special.expect("type_id", 0);
  const Fields token = post.object("special_tokens").object(special.text("id").c_str());
  const Json& tokens = token.get("tokens");
  if (!tokens.is_array() || tokens.size() != 1 || !tokens[0].is_string()) {
    token.refuse("tokens", "expected one text");
  }
  std::string content = tokens[0].get<std::string>();
  const auto found = settings.vocabulary.find(content);
  if (found == settings.vocabulary.end() || token.get("ids") != Json::array({found->second})) {
    token.refuse("ids", "not the vocabulary's id of " + content);
  }
  return content;
}

void read_post_processor(const Fields& fields, WordPieceSettings& settings) {
  if (fields.text("type") == "BertProcessing") {
    fields.only({"type", "sep", "cls"});
    settings.begin = read_named_id(fields, "cls", settings);
    settings.end = read_named_id(fields, "sep", settings);
    return;
  }
  if (fields.text("type") != "TemplateProcessing") {
    fields.refuse("type", "supported are TemplateProcessing and BertProcessing");
  }
  fields.only({"type", "single", "pair", "special_tokens"});
  const Json& parts = fields.get("single");
  const Json sequence = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  if (!parts.is_array() || parts.size() != 3 || parts[1] != sequence) {
    fields.refuse("single", "supported is [CLS] A [SEP] with type_id 0");
  }
  settings.begin = read_template_token(fields, 0, settings);
  settings.end = read_template_token(fields, 2, settings);
}

/// Special tokens of a vocabulary as transformers' BERT tokenizers add them; those that are missing are left
/// out here.
void add_special_tokens(WordPieceSettings& settings, const std::string& mask) {
  for (const std::string& content : {settings.pad, settings.unknown, settings.begin, settings.end, mask}) {
    const auto found = settings.vocabulary.find(content);
    const auto is_same = [&content](const AddedToken& token) { return token.content == content; };
    const bool is_piece = !content.empty() && found != settings.vocabulary.end();
    if (!is_piece || std::ranges::any_of(settings.added, is_same)) continue;
    settings.added.push_back({.id = found->second, .content = content, .special = true});
  }
}

/// A special token of tokenizer_config.json: a text, or an object with the text as its content.
std::string configured_token(const Fields& config, const char* name, const std::string& otherwise) {
  if (!config.has(name)) return otherwise;
  return config.get(name).is_object() ? config.object(name).text("content") : config.text(name);
}

std::string_view without_trailing_space(std::string_view line) {
  for (std::size_t position = line.size(); position > 0;) {
    if (u_isUWhiteSpace(static_cast<UChar32>(previous_character(line, position))) == 0) break;
    line = line.substr(0, position);
  }
  return line;
}

}  // namespace

WordPieceSettings read_wordpiece_json(std::string_view text, const std::string& origin) {
  const Json json = parse(text, origin);
  const Fields root(json, origin, "");
  root.only({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
             "post_processor", "decoder", "model"});
  root.expect("version", "1.0");
  WordPieceSettings settings;
  read_model(root.object("model"), settings);
  settings.normalizer = read_normalizer(root.object("normalizer"));
  const Fields pre_tokenizer = root.object("pre_tokenizer");
  pre_tokenizer.expect("type", "BertPreTokenizer");
  pre_tokenizer.only({"type"});
  read_post_processor(root.object("post_processor"), settings);
  if (root.has("truncation")) {
    const Fields truncation = root.object("truncation");
    if (truncation.has("direction")) truncation.expect("direction", "Right");
  }
  if (root.has("added_tokens")) {
    const Json& tokens = root.get("added_tokens");
    if (!tokens.is_array()) root.refuse("added_tokens", "expected a list");
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      settings.added.push_back(read_added_token(root.element("added_tokens", i)));
    }
  }
  if (root.has("padding")) {
    settings.pad = root.object("padding").text("pad_token");
  } else if (!settings.vocabulary.contains(settings.pad)) {
    settings.pad.clear();
  }
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
  const Json json = parse(config, config_origin);
  const Fields fields(json, config_origin, "");
  if (fields.has("do_basic_tokenize")) fields.expect("do_basic_tokenize", true);
  if (fields.has("never_split")) fields.expect("never_split", Json::array());
  settings.normalizer.lowercase = fields.flag("do_lower_case", true);
  settings.normalizer.handle_chinese_chars = fields.flag("tokenize_chinese_chars", true);
  settings.normalizer.strip_accents = fields.optional_flag("strip_accents");
  settings.unknown = configured_token(fields, "unk_token", settings.unknown);
  settings.begin = configured_token(fields, "cls_token", settings.begin);
  settings.end = configured_token(fields, "sep_token", settings.end);
  settings.pad = configured_token(fields, "pad_token", settings.pad);
  if (!settings.vocabulary.contains(settings.pad)) settings.pad.clear();
  add_special_tokens(settings, configured_token(fields, "mask_token", "[MASK]"));
  return settings;
}

std::string write_wordpiece_json(const WordPieceSettings& settings, const SpecialTokens& special) {
  const auto special_part = [](const std::string& token, int type) {
    return Json{{"SpecialToken", {{"id", token}, {"type_id", type}}}};
  };
  const auto sequence_part = [](const char* name, int type) {
    return Json{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  const auto special_token = [](const std::string& token, std::int32_t id) {
    return Json{{"id", token}, {"ids", Json::array({id})}, {"tokens", Json::array({token})}};
  };
  const Json single = {special_part(settings.begin, 0), sequence_part("A", 0), special_part(settings.end, 0)};
  Json pair = single;
  pair.push_back(sequence_part("B", 1));
  pair.push_back(special_part(settings.end, 1));

  nlohmann::ordered_json json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  if (special.pad >= 0) {
    json["padding"] = {{"strategy", "BatchLongest"}, {"direction", "Right"}, {"pad_to_multiple_of", nullptr},
                       {"pad_id", special.pad},      {"pad_type_id", 0},     {"pad_token", settings.pad}};
  }
  json["added_tokens"] = Json::array();
  for (const AddedToken& token : settings.added) {
    json["added_tokens"].push_back({{"id", token.id},
                                    {"content", token.content},
                                    {"single_word", token.single_word},
                                    {"lstrip", token.lstrip},
                                    {"rstrip", token.rstrip},
                                    {"normalized", token.normalized},
                                    {"special", token.special}});
  }
  const std::optional<bool> strip_accents = settings.normalizer.strip_accents;
  json["normalizer"] = {{"type", "BertNormalizer"},
                        {"clean_text", settings.normalizer.clean_text},
                        {"handle_chinese_chars", settings.normalizer.handle_chinese_chars},
                        {"strip_accents", strip_accents ? Json(*strip_accents) : Json()},
                        {"lowercase", settings.normalizer.lowercase}};
  json["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  json["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", single},
      {"pair", pair},
      {"special_tokens", Json{{settings.begin, special_token(settings.begin, special.begin)},
                              {settings.end, special_token(settings.end, special.end)}}}};
  json["decoder"] = {{"type", "WordPiece"}, {"prefix", settings.continuing_prefix}, {"cleanup", true}};
  json["model"] = {{"type", "WordPiece"},
                   {"unk_token", settings.unknown},
                   {"continuing_subword_prefix", settings.continuing_prefix},
                   {"max_input_chars_per_word", settings.max_characters_of_word}};
  // Put together as text: an ordered object takes quadratic time for a vocabulary, and the library's own
  // order, by id, is not that of a sorted one.
  std::vector<const std::pair<const std::string, std::int32_t>*> pieces;
  for (const auto& piece : settings.vocabulary) pieces.push_back(&piece);
  std::ranges::sort(pieces, {}, [](const auto* piece) { return piece->second; });
  std::string text = json.dump();
  text.resize(text.size() - 2);  // of model and of all, closed below
  text += ",\"vocab\":{";
  for (const auto* piece : pieces) {
    text +=
        fmt::format("{}{}:{}", piece == pieces.front() ? "" : ",", Json(piece->first).dump(), piece->second);
  }
  return text + "}}}";
}

}  // namespace toller
