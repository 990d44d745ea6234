#include "text/byte_level_bpe_file.h"

#include "error.h"

namespace toller {
namespace {

using Json = nlohmann::json;

/// "a b" or ["a", "b"].
std::pair<std::string, std::string> read_merge(const Json& merge, const std::string& origin,
                                               std::size_t index) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  }
  const std::string text = merge.is_string() ? merge.get<std::string>() : "";
  const std::size_t blank = text.find(' ');
  if (blank == std::string::npos || text.find(' ', blank + 1) != std::string::npos) {
    fail("{}: model.merges[{}] is neither two pieces with a blank between them nor a list of two", origin,
         index);
  }
  return {text.substr(0, blank), text.substr(blank + 1)};
}

void read_merges(const JsonFields& model, ByteLevelBpeSettings& settings) {
  const Json& merges = model.list("merges");
  settings.merges.reserve(merges.size());
  for (std::size_t i = 0; i < merges.size(); ++i) {
    // The first line of a merges.txt may have come along.
    if (merges[i].is_string() && merges[i].get_ref<const std::string&>().starts_with("#version")) continue;
    settings.merges.push_back(read_merge(merges[i], model.origin(), i));
  }
}

void read_model(const JsonFields& model, ByteLevelBpeSettings& settings) {
  model.expect("type", "BPE");
  model.only({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
              "byte_fallback", "ignore_merges", "vocab", "merges"});
  if (model.has("dropout")) model.refuse("dropout", "supported is null");
  model.expect_if_there("continuing_subword_prefix", "");
  model.expect_if_there("end_of_word_suffix", "");
  model.expect_if_there("fuse_unk", false);
  model.expect_if_there("byte_fallback", false);
  settings.ignore_merges = model.flag("ignore_merges", false);
  if (model.has("unk_token")) {
    settings.unknown = model.text("unk_token");
    if (settings.unknown.empty()) model.refuse("unk_token", "expected null or a piece");
  }
  settings.vocabulary = read_vocabulary(model);
  read_merges(model, settings);
}

void read_byte_level(const JsonFields& fields, bool use_regex) {
  fields.expect("type", "ByteLevel");
  fields.only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  if (fields.flag("use_regex", true) != use_regex) {
    fields.refuse("use_regex",
                  use_regex ? "supported without a Split is true" : "supported after a Split is false");
  }
}

void read_split(const JsonFields& split, ByteLevelBpeSettings& settings) {
  split.expect("type", "Split");
  split.only({"type", "pattern", "behavior", "invert"});
  split.expect("behavior", "Isolated");
  split.expect("invert", false);
  const JsonFields pattern = split.object("pattern");
  pattern.only({"Regex"});
  const std::string expression = pattern.text("Regex");
  for (const WordPattern known : {WordPattern::kQwen2, WordPattern::kGpt2}) {
    settings.words = known;
    if (expression == regular_expression(known)) return;
  }
  fail("{}: pre_tokenizer: the expression {} is not supported; known are those of Qwen2 and GPT-2",
       split.origin(), Json(expression).dump());
}

void read_pre_tokenizer(const JsonFields& fields, ByteLevelBpeSettings& settings) {
  if (fields.text("type") == "ByteLevel") {
    read_byte_level(fields, true);
    settings.prefix_space = fields.flag("add_prefix_space");
    return;
  }
  if (fields.text("type") != "Sequence") {
    fields.refuse("type", "supported are ByteLevel and a Sequence of Split and ByteLevel");
  }
  fields.only({"type", "pretokenizers"});
  if (fields.list("pretokenizers").size() != 2) {
    fields.refuse("pretokenizers", "supported are Split and ByteLevel");
  }
  read_split(fields.element("pretokenizers", 0), settings);
  const JsonFields byte_level = fields.element("pretokenizers", 1);
  read_byte_level(byte_level, false);
  byte_level.expect("add_prefix_space", false);  // which would put a blank before every word
}

nlohmann::ordered_json byte_level_json(bool prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", prefix_space},
          {"trim_offsets", false},
          {"use_regex", use_regex}};
}

nlohmann::ordered_json pre_tokenizer_json(const ByteLevelBpeSettings& settings) {
  if (settings.words == WordPattern::kGpt2) return byte_level_json(settings.prefix_space, true);
  const nlohmann::ordered_json split = {{"type", "Split"},
                                        {"pattern", {{"Regex", regular_expression(settings.words)}}},
                                        {"behavior", "Isolated"},
                                        {"invert", false}};
  return {{"type", "Sequence"}, {"pretokenizers", {split, byte_level_json(false, false)}}};
}

}  // namespace

ByteLevelBpeSettings read_byte_level_bpe_json(const JsonFields& root) {
  ByteLevelBpeSettings settings;
  read_model(root.object("model"), settings);
  settings.frame = read_tokenizer_frame(root, settings.vocabulary);
  if (root.has("normalizer")) {
    const JsonFields normalizer = root.object("normalizer");
    normalizer.expect("type", "NFC");
    normalizer.only({"type"});
    settings.compose = true;
  }
  read_pre_tokenizer(root.object("pre_tokenizer"), settings);
  return settings;
}

std::string write_byte_level_bpe_json(const ByteLevelBpeSettings& settings, const SpecialTokens& special) {
  const std::string& unknown = settings.unknown;
  return write_tokenizer_json(settings.frame, special,
                              {.normalizer = settings.compose ? Json{{"type", "NFC"}} : Json(),
                               .pre_tokenizer = pre_tokenizer_json(settings),
                               .decoder = byte_level_json(false, true),
                               .model = {{"type", "BPE"},
                                         {"dropout", nullptr},
                                         {"unk_token", unknown.empty() ? Json() : Json(unknown)},
                                         {"continuing_subword_prefix", nullptr},
                                         {"end_of_word_suffix", nullptr},
                                         {"fuse_unk", false},
                                         {"byte_fallback", false},
                                         {"ignore_merges", settings.ignore_merges},
                                         {"merges", settings.merges}},
                               .vocabulary = vocabulary_text(settings.vocabulary)});
}

}  // namespace toller
