// What the kinds of tokenizer.json files (of the `tokenizers` library) have in common: their fields, the
// added tokens, the tokens around a text.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/subword_model.h"

namespace toller {

/// Ids of pieces.
using Vocabulary = std::map<std::string, std::int32_t>;

std::optional<std::int32_t> find_id(const Vocabulary& vocabulary, const std::vector<AddedToken>& added,
                                    const std::string& token);

/// Error, which names `origin`, if the vocabulary does not have the piece.
std::int32_t id_of_unknown(const Vocabulary& vocabulary, const std::string& unknown,
                           const std::string& origin);

/// Error, beginning with `origin`, if the text is not JSON.
nlohmann::json parse_tokenizer_json(std::string_view text, const std::string& origin);

/// An object of a file and its place there; every value is checked when it is read. Refers to the JSON.
class JsonFields {
 public:
  /// `path`: names of the fields that lead to the object. Error unless it is one.
  JsonFields(const nlohmann::json& value, std::string origin, std::string path = "");

  /// Whether it is there, and not null.
  bool has(const std::string& name) const { return value_.contains(name) && !value_.at(name).is_null(); }
  const nlohmann::json& get(const std::string& name) const;
  JsonFields object(const std::string& name) const { return {get(name), origin_, place(name)}; }
  /// Of a list.
  JsonFields element(const std::string& name, std::size_t index) const;
  /// Error unless it is a list.
  const nlohmann::json& list(const std::string& name) const;

  std::string text(const std::string& name) const;
  bool flag(const std::string& name) const;
  bool flag(const std::string& name, bool otherwise) const { return has(name) ? flag(name) : otherwise; }
  std::optional<bool> optional_flag(const std::string& name) const;
  /// A number from 0 that fits 32 bits.
  std::int32_t number(const std::string& name) const;

  void expect(const std::string& name, const nlohmann::json& expected) const;
  /// As expect, for a field that may be absent.
  void expect_if_there(const std::string& name, const nlohmann::json& expected) const {
    if (has(name)) expect(name, expected);
  }
  /// Throws at a field that is not among these: what it asks for would not be done.
  void only(std::initializer_list<const char*> known) const;
  [[noreturn]] void refuse(const std::string& name, const std::string& expected) const;

  const nlohmann::json& value() const { return value_; }
  const std::string& origin() const { return origin_; }

 private:
  std::string place(const std::string& name) const { return path_.empty() ? name : path_ + "." + name; }

  const nlohmann::json& value_;
  std::string origin_, path_;
};

/// What a tokenizer.json says around its model.
struct TokenizerFrame {
  std::vector<AddedToken> added;
  std::string pad;    ///< empty: there is none
  std::string begin;  ///< first token of a text; empty: there is none
  std::string end;    ///< last token of a text
};

/// The fields of the whole file other than normalizer, pre_tokenizer, model and decoder. How it cuts and pads
/// is not taken from it, but for the padding token, which is [PAD] or <pad> where padding is null and the
/// vocabulary has one. Supported of post_processor: TemplateProcessing with a token behind the text and
/// perhaps one before it, BertProcessing, RobertaProcessing; with ByteLevel, which changes no token, before
/// it in a Sequence.
TokenizerFrame read_tokenizer_frame(const JsonFields& root, const Vocabulary& vocabulary);

/// The object `model.vocab` of pieces with their ids.
Vocabulary read_vocabulary(const JsonFields& model);

/// A vocabulary as JSON, by id.
std::string vocabulary_text(const Vocabulary& vocabulary);

/// The parts of a tokenizer.json that each kind of model writes itself.
struct TokenizerParts {
  nlohmann::ordered_json normalizer, pre_tokenizer, decoder, model;
  std::string vocabulary;  ///< JSON of `vocab`, which becomes the last field of the model
};

/// A whole tokenizer.json.
std::string write_tokenizer_json(const TokenizerFrame& frame, const SpecialTokens& special,
                                 const TokenizerParts& parts);

}  // namespace toller
