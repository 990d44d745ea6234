#include "text/tokenizer_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "error.h"

namespace toller {
namespace {

using Json = nlohmann::json;

std::string shown(const Json& value) {
  if (value.is_structured()) return value.is_array() ? "a list" : "an object";
  const std::string text = value.dump();
  return text.size() > 60 ? text.substr(0, 60) + "…" : text;
}

AddedToken read_added_token(const JsonFields& fields) {
  fields.only({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  return {fields.number("id"),   fields.text("content"),    fields.flag("single_word"), fields.flag("lstrip"),
          fields.flag("rstrip"), fields.flag("normalized"), fields.flag("special")};
}

/// The tokens around a text, whose ids must be those of the vocabulary.
class PostProcessorReader {
 public:
  PostProcessorReader(const Vocabulary& vocabulary, TokenizerFrame& frame)
      : vocabulary_(vocabulary), frame_(frame) {}

  void read(const JsonFields& fields) {
    const std::string type = fields.text("type");
    if (type == "TemplateProcessing") return read_template(fields);
    if (type == "Sequence") return read_sequence(fields);
    if (type == "RobertaProcessing") {
      fields.only({"type", "sep", "cls", "trim_offsets", "add_prefix_space"});
    } else if (type == "BertProcessing") {
      fields.only({"type", "sep", "cls"});
    } else {
      fields.refuse("type",
                    "supported are TemplateProcessing, BertProcessing and RobertaProcessing, perhaps after "
                    "ByteLevel in a Sequence");
    }
    frame_.begin = read_named_id(fields, "cls");
    frame_.end = read_named_id(fields, "sep");
  }

 private:
  bool has_id(const std::string& token, const Json& id) const {
    const auto known = find_id(vocabulary_, frame_.added, token);
    return known && id == *known;
  }

  /// ["[CLS]", 101] of a BertProcessing.
  std::string read_named_id(const JsonFields& fields, const char* name) const {
    const Json& pair = fields.get(name);
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string())
      fields.refuse(name, "expected [text, id]");
    std::string token = pair[0].get<std::string>();
    if (!has_id(token, pair[1])) fields.refuse(name, "whose id is not the vocabulary's");
    return token;
  }

  void read_template(const JsonFields& fields) {
    fields.only({"type", "single", "pair", "special_tokens"});
    const Json& parts = fields.get("single");
    const Json sequence = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
    const bool is_list = parts.is_array() && (parts.size() == 2 || parts.size() == 3);
    if (!is_list || parts[parts.size() - 2] != sequence) {
      fields.refuse("single", "supported are [CLS] A [SEP] and A [SEP] with type_id 0");
    }
    if (parts.size() == 3) frame_.begin = read_template_token(fields, 0);
    frame_.end = read_template_token(fields, parts.size() - 1);
  }

  /// The token of part `index` of a template, {"SpecialToken": {"id": …, "type_id": 0}}.
  std::string read_template_token(const JsonFields& post, std::size_t index) const {
    const JsonFields part = post.element("single", index);
    part.only({"SpecialToken"});
    const JsonFields special = part.object("SpecialToken");
    special.only({"id", "type_id"});
    special.expect("type_id", 0);
    const JsonFields token = post.object("special_tokens").object(special.text("id"));
    const Json& tokens = token.get("tokens");
    if (!tokens.is_array() || tokens.size() != 1 || !tokens[0].is_string()) {
      token.refuse("tokens", "expected one text");
    }
    std::string content = tokens[0].get<std::string>();
    const Json& ids = token.get("ids");
    if (!ids.is_array() || ids.size() != 1 || !has_id(content, ids[0])) {
      token.refuse("ids", "not the vocabulary's id of " + content);
    }
    return content;
  }

  void read_sequence(const JsonFields& fields) {
    fields.only({"type", "processors"});
    const Json& processors = fields.list("processors");
    for (std::size_t i = 0; i + 1 < processors.size(); ++i) {
      fields.element("processors", i).expect("type", "ByteLevel");
    }
    if (processors.empty()) fields.refuse("processors", "which is empty");
    const JsonFields last = fields.element("processors", processors.size() - 1);
    if (last.text("type") == "Sequence") last.refuse("type", "which is not supported in another");
    read(last);
  }

  const Vocabulary& vocabulary_;
  TokenizerFrame& frame_;
};

Json sequence_part(const char* name, int type) {
  return Json{{"Sequence", {{"id", name}, {"type_id", type}}}};
}

Json token_part(const std::string& token, int type) {
  return Json{{"SpecialToken", {{"id", token}, {"type_id", type}}}};
}

Json template_json(const TokenizerFrame& frame, const SpecialTokens& special) {
  const auto token_json = [](const std::string& token, std::int32_t id) {
    return Json{{"id", token}, {"ids", Json::array({id})}, {"tokens", Json::array({token})}};
  };
  Json single = Json::array({sequence_part("A", 0), token_part(frame.end, 0)});
  Json tokens{{frame.end, token_json(frame.end, special.end)}};
  if (!frame.begin.empty()) {
    single.insert(single.begin(), token_part(frame.begin, 0));
    tokens[frame.begin] = token_json(frame.begin, special.begin);
  }
  Json pair = single;
  pair.push_back(sequence_part("B", 1));
  pair.push_back(token_part(frame.end, 1));
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

}  // namespace

std::optional<std::int32_t> find_id(const Vocabulary& vocabulary, const std::vector<AddedToken>& added,
                                    const std::string& token) {
  if (const auto found = vocabulary.find(token); found != vocabulary.end()) return found->second;
  const auto found = std::ranges::find(added, token, &AddedToken::content);
  return found == added.end() ? std::nullopt : std::optional(found->id);
}

std::int32_t id_of_unknown(const Vocabulary& vocabulary, const std::string& unknown,
                           const std::string& origin) {
  const auto found = vocabulary.find(unknown);
  if (found == vocabulary.end())
    fail("{}: the unknown token \"{}\" is not in the vocabulary", origin, unknown);
  return found->second;
}

Json parse_tokenizer_json(std::string_view text, const std::string& origin) {
  try {
    return Json::parse(text);
  } catch (const Json::exception& error) {
    fail("{}: not JSON: {}", origin, error.what());
  }
}

JsonFields::JsonFields(const Json& value, std::string origin, std::string path)
    : value_(value), origin_(std::move(origin)), path_(std::move(path)) {
  if (!value_.is_object()) fail("{}: {} is {}, expected an object", origin_, path_, shown(value_));
}

const Json& JsonFields::get(const std::string& name) const {
  if (!value_.contains(name)) fail("{}: {} is missing", origin_, place(name));
  return value_.at(name);
}

JsonFields JsonFields::element(const std::string& name, std::size_t index) const {
  return {get(name).at(index), origin_, fmt::format("{}[{}]", place(name), index)};
}

const Json& JsonFields::list(const std::string& name) const {
  if (!get(name).is_array()) refuse(name, "expected a list");
  return get(name);
}

std::string JsonFields::text(const std::string& name) const {
  if (!get(name).is_string()) refuse(name, "expected a text");
  return get(name).get<std::string>();
}

bool JsonFields::flag(const std::string& name) const {
  if (!get(name).is_boolean()) refuse(name, "expected true or false");
  return get(name).get<bool>();
}

std::optional<bool> JsonFields::optional_flag(const std::string& name) const {
  return has(name) ? std::optional(flag(name)) : std::nullopt;
}

std::int32_t JsonFields::number(const std::string& name) const {
  const Json& value = get(name);
  if (!value.is_number_unsigned() ||
      value.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max())) {
    refuse(name, "expected a number from 0 to 2147483647");
  }
  return value.get<std::int32_t>();
}

void JsonFields::expect(const std::string& name, const Json& expected) const {
  if (get(name) != expected) refuse(name, fmt::format("supported is {}", expected.dump()));
}

void JsonFields::only(std::initializer_list<const char*> known) const {
  for (const auto& [name, value] : value_.items()) {
    if (std::ranges::find(known, name) == known.end()) {
      fail("{}: {} is not supported", origin_, place(name));
    }
  }
}

void JsonFields::refuse(const std::string& name, const std::string& expected) const {
  fail("{}: {} is {}, {}", origin_, place(name), shown(get(name)), expected);
}

TokenizerFrame read_tokenizer_frame(const JsonFields& root, const Vocabulary& vocabulary) {
  root.only({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
             "post_processor", "decoder", "model"});
  root.expect("version", "1.0");
  if (root.has("truncation")) root.object("truncation").expect_if_there("direction", "Right");
  TokenizerFrame frame;
  if (root.has("added_tokens")) {
    const std::size_t count = root.list("added_tokens").size();
    for (std::size_t i = 0; i < count; ++i) {
      frame.added.push_back(read_added_token(root.element("added_tokens", i)));
    }
  }
  PostProcessorReader(vocabulary, frame).read(root.object("post_processor"));
  if (root.has("padding")) {
    frame.pad = root.object("padding").text("pad_token");
  } else {
    for (const char* pad : {"<pad>", "[PAD]"}) {
      if (find_id(vocabulary, frame.added, pad)) frame.pad = pad;
    }
  }
  return frame;
}

Vocabulary read_vocabulary(const JsonFields& model) {
  const JsonFields pieces = model.object("vocab");
  Vocabulary vocabulary;
  for (const auto& [piece, id] : pieces.value().items()) {
    vocabulary.emplace_hint(vocabulary.end(), piece, pieces.number(piece));
  }
  return vocabulary;
}

std::string vocabulary_text(const Vocabulary& vocabulary) {
  // Put together as text: an ordered object takes quadratic time for a vocabulary, and the library's own
  // order, by id, is not that of a sorted one.
  std::vector<const Vocabulary::value_type*> pieces;
  for (const auto& piece : vocabulary) pieces.push_back(&piece);
  std::ranges::sort(pieces, {}, [](const auto* piece) { return piece->second; });
  std::string text;
  for (const auto* piece : pieces) {
    text += fmt::format("{}{}:{}", text.empty() ? '{' : ',', Json(piece->first).dump(), piece->second);
  }
  return text + '}';
}

std::string write_tokenizer_json(const TokenizerFrame& frame, const SpecialTokens& special,
                                 const TokenizerParts& parts) {
  nlohmann::ordered_json json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  if (special.pad >= 0) {
    json["padding"] = {{"strategy", "BatchLongest"}, {"direction", "Right"}, {"pad_to_multiple_of", nullptr},
                       {"pad_id", special.pad},      {"pad_type_id", 0},     {"pad_token", frame.pad}};
  }
  json["added_tokens"] = Json::array();
  for (const AddedToken& token : frame.added) {
    json["added_tokens"].push_back({{"id", token.id},
                                    {"content", token.content},
                                    {"single_word", token.single_word},
                                    {"lstrip", token.lstrip},
                                    {"rstrip", token.rstrip},
                                    {"normalized", token.normalized},
                                    {"special", token.special}});
  }
  json["normalizer"] = parts.normalizer;
  json["pre_tokenizer"] = parts.pre_tokenizer;
  json["post_processor"] = template_json(frame, special);
  json["decoder"] = parts.decoder;
  json["model"] = parts.model;
  std::string text = json.dump();
  text.resize(text.size() - 2);  // of model and of all, closed below
  return text + ",\"vocab\":" + parts.vocabulary + "}}";
}

}  // namespace toller
