#include "text/unigram_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "error.h"
#include "text/unicode.h"

namespace toller {
namespace {

using Json = nlohmann::json;

constexpr const char* kRunsOfBlanks = " {2,}";

void read_piece(const Json& piece, const std::string& place, UnigramSettings& settings) {
  if (!piece.is_array() || piece.size() != 2 || !piece[0].is_string() || !piece[1].is_number()) {
    fail("{} is not a list of a text and a number", place);
  }
  append_unigram_piece(piece[0].get<std::string>(), piece[1].get<double>(), place, settings);
}

void read_model(const JsonFields& model, UnigramSettings& settings) {
  model.expect("type", "Unigram");
  model.only({"type", "unk_id", "vocab", "byte_fallback"});
  model.expect_if_there("byte_fallback", false);
  settings.unknown = model.number("unk_id");
  const Json& pieces = model.list("vocab");
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    read_piece(pieces[i], fmt::format("{}: model.vocab[{}]", model.origin(), i), settings);
  }
}

/// Steps of a normaliser, which come in this order.
enum class Step { kNone, kPrecompiled, kStrip, kReplace };

Step read_step(const JsonFields& fields, UnigramSettings& settings) {
  const std::string type = fields.text("type");
  if (type == "Precompiled") {
    fields.only({"type", "precompiled_charsmap"});
    settings.charsmap = fields.text("precompiled_charsmap");
    if (settings.charsmap.empty()) fields.refuse("precompiled_charsmap", "which is empty");
    return Step::kPrecompiled;
  }
  if (type == "Strip") {
    fields.only({"type", "strip_left", "strip_right"});
    settings.strip_left = fields.flag("strip_left");
    settings.strip_right = fields.flag("strip_right");
    return Step::kStrip;
  }
  if (type == "Replace") {
    fields.only({"type", "pattern", "content"});
    const JsonFields pattern = fields.object("pattern");
    pattern.only({"Regex"});
    pattern.expect("Regex", kRunsOfBlanks);
    settings.blanks = fields.text("content");
    return Step::kReplace;
  }
  fields.refuse("type", "supported are Precompiled, Strip, Replace and a Sequence of them");
}

void read_normalizer(const JsonFields& fields, UnigramSettings& settings) {
  if (fields.text("type") != "Sequence") {
    read_step(fields, settings);
    return;
  }
  fields.only({"type", "normalizers"});
  const std::size_t count = fields.list("normalizers").size();
  Step last = Step::kNone;
  for (std::size_t i = 0; i < count; ++i) {
    const Step step = read_step(fields.element("normalizers", i), settings);
    if (step <= last) {
      fields.refuse("normalizers", "supported are Precompiled, Strip and Replace in this order, each once");
    }
    last = step;
  }
}

void read_metaspace(const JsonFields& fields) {
  fields.expect("type", "Metaspace");
  fields.only({"type", "replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep"});
  fields.expect("replacement", kUnigramMark);
  fields.expect_if_there("str_rep", kUnigramMark);
  fields.expect_if_there("add_prefix_space", true);
  fields.expect_if_there("prepend_scheme", "always");
  fields.expect_if_there("split", true);
}

void read_pre_tokenizer(const JsonFields& fields, UnigramSettings& settings) {
  settings.split_at_space = fields.text("type") == "Sequence";
  if (!settings.split_at_space) return read_metaspace(fields);
  fields.only({"type", "pretokenizers"});
  if (fields.list("pretokenizers").size() != 2) {
    fields.refuse("pretokenizers", "supported are WhitespaceSplit and Metaspace");
  }
  const JsonFields split = fields.element("pretokenizers", 0);
  split.expect("type", "WhitespaceSplit");
  split.only({"type"});
  read_metaspace(fields.element("pretokenizers", 1));
}

nlohmann::ordered_json normalizer_json(const UnigramSettings& settings) {
  nlohmann::ordered_json steps = Json::array();
  if (!settings.charsmap.empty()) {
    steps.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", settings.charsmap}});
  }
  if (settings.strip_left || settings.strip_right) {
    steps.push_back(
        {{"type", "Strip"}, {"strip_left", settings.strip_left}, {"strip_right", settings.strip_right}});
  }
  if (settings.blanks) {
    steps.push_back(
        {{"type", "Replace"}, {"pattern", {{"Regex", kRunsOfBlanks}}}, {"content", *settings.blanks}});
  }
  return {{"type", "Sequence"}, {"normalizers", steps}};
}

nlohmann::ordered_json metaspace_json() {
  return {
      {"type", "Metaspace"}, {"replacement", kUnigramMark}, {"prepend_scheme", "always"}, {"split", true}};
}

nlohmann::ordered_json pre_tokenizer_json(const UnigramSettings& settings) {
  if (!settings.split_at_space) return metaspace_json();
  const nlohmann::ordered_json split = {{"type", "WhitespaceSplit"}};
  return {{"type", "Sequence"}, {"pretokenizers", {split, metaspace_json()}}};
}

/// As text, since only fmt promises the shortest digits, on which the value that the library reads depends.
std::string pieces_text(const UnigramSettings& settings) {
  std::vector<const std::string*> pieces(settings.scores.size());
  for (const auto& [piece, id] : settings.vocabulary) pieces[id] = &piece;
  std::string text;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    text += fmt::format("{}[{},{}]", i == 0 ? '[' : ',', Json(*pieces[i]).dump(), settings.scores[i]);
  }
  return text + ']';
}

}  // namespace

void append_unigram_piece(const std::string& piece, double score, const std::string& place,
                          UnigramSettings& settings) {
  constexpr double kMost = 1e30, kLeast = 1e-30;  // far beyond what logarithms of probabilities are
  const double size = std::abs(score);
  if (!(size <= kMost) || (size < kLeast && size != 0.0)) {
    fail("{}: {} is no logarithm of a probability", place, score);
  }
  if (find_invalid_utf8(piece) >= 0) fail("{}: is not UTF-8", place);
  const auto id = static_cast<std::int32_t>(settings.scores.size());
  if (!settings.vocabulary.emplace(piece, id).second) fail("{}: \"{}\" stands there twice", place, piece);
  settings.scores.push_back(score);
}

UnigramSettings read_unigram_json(const JsonFields& root) {
  UnigramSettings settings;
  read_model(root.object("model"), settings);
  settings.frame = read_tokenizer_frame(root, settings.vocabulary);
  if (root.has("normalizer")) read_normalizer(root.object("normalizer"), settings);
  read_pre_tokenizer(root.object("pre_tokenizer"), settings);
  return settings;
}

std::string write_unigram_json(const UnigramSettings& settings, const SpecialTokens& special) {
  return write_tokenizer_json(
      settings.frame, special,
      {.normalizer = normalizer_json(settings),
       .pre_tokenizer = pre_tokenizer_json(settings),
       .decoder = metaspace_json(),
       .model = {{"type", "Unigram"}, {"unk_id", settings.unknown}, {"byte_fallback", false}},
       .vocabulary = pieces_text(settings)});
}

}  // namespace toller
