#include "text/sentencepiece_unigram.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <boost/archive/iterators/base64_from_binary.hpp>
#include <boost/archive/iterators/transform_width.hpp>
#include <cstdint>
#include <string_view>
#include <vector>

#include "error.h"
#include "text/unigram_file.h"

namespace toller {
namespace {

// The library's header of its protocol buffers is not installed with it, so that the few fields that are
// needed are read here (sentencepiece_model.proto).

struct Field {
  std::uint32_t number = 0;
  std::uint64_t value = 0;  ///< of an integer, a flag, an enum or a float's bits
  std::string_view bytes;   ///< of a text or a message
};

/// The fields of a message, one after the other.
class FieldReader {
 public:
  FieldReader(std::string_view message, const std::string& origin) : rest_(message), origin_(origin) {}

  bool next(Field& field) {
    if (rest_.empty()) return false;
    constexpr std::uint32_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;
    const std::uint64_t tag = read_varint();
    field = {.number = static_cast<std::uint32_t>(tag >> 3), .value = 0, .bytes = {}};
    switch (tag & 7) {
      case kVarint:
        field.value = read_varint();
        break;
      case kFixed64:
        field.value = read_fixed(8);
        break;
      case kFixed32:
        field.value = read_fixed(4);
        break;
      case kBytes:
        field.bytes = take(read_varint());
        break;
      default:
        fail("{}: a damaged sentencepiece model: a field of wire type {}", origin_, tag & 7);
    }
    return true;
  }

 private:
  std::string_view take(std::uint64_t size) {
    if (size > rest_.size()) fail("{}: a damaged sentencepiece model: it ends within a field", origin_);
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  std::uint64_t read_fixed(int size) {
    std::uint64_t value = 0;
    const std::string_view bytes = take(static_cast<std::uint64_t>(size));
    for (int i = size - 1; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
    return value;
  }

  std::uint64_t read_varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1).front());
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return value;
    }
    fail("{}: a damaged sentencepiece model: an integer of more than ten bytes", origin_);
  }

  std::string_view rest_;
  const std::string& origin_;
};

enum class Kind : std::uint64_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

struct Piece {
  std::string text;
  double score = 0.0;
  Kind kind = Kind::kNormal;
};

/// With the values that fields have where a file leaves them out.
struct Model {
  std::vector<Piece> pieces;
  std::uint64_t type = 1;
  bool marks_behind_words = false;
  std::int64_t begin = 1, end = 2, pad = -1;
  std::string_view charsmap;
  bool marks_first_word = true, removes_blanks = true, marks_blanks = true;
};

Piece read_piece(std::string_view message, const std::string& origin) {
  Piece piece;
  FieldReader fields(message, origin);
  for (Field field; fields.next(field);) {
    if (field.number == 1) piece.text = field.bytes;
    if (field.number == 2) piece.score = std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
    if (field.number == 3) piece.kind = static_cast<Kind>(field.value);
  }
  return piece;
}

void read_trainer(std::string_view message, const std::string& origin, Model& model) {
  // An id that is not there is −1, in all 64 bits or the lower 32 of them.
  const auto id = [](std::uint64_t value) { return std::int64_t{static_cast<std::int32_t>(value)}; };
  FieldReader fields(message, origin);
  for (Field field; fields.next(field);) {
    if (field.number == 3) model.type = field.value;
    if (field.number == 24) model.marks_behind_words = field.value != 0;
    if (field.number == 41) model.begin = id(field.value);
    if (field.number == 42) model.end = id(field.value);
    if (field.number == 43) model.pad = id(field.value);
  }
}

void read_normalizer(std::string_view message, const std::string& origin, Model& model) {
  FieldReader fields(message, origin);
  for (Field field; fields.next(field);) {
    if (field.number == 2) model.charsmap = field.bytes;
    if (field.number == 3) model.marks_first_word = field.value != 0;
    if (field.number == 4) model.removes_blanks = field.value != 0;
    if (field.number == 5) model.marks_blanks = field.value != 0;
  }
}

/// `model.charsmap` lies in `bytes`.
Model read_model(std::string_view bytes, const std::string& origin) {
  Model model;
  FieldReader fields(bytes, origin);
  for (Field field; fields.next(field);) {
    if (field.number == 1) model.pieces.push_back(read_piece(field.bytes, origin));
    if (field.number == 2) read_trainer(field.bytes, origin, model);
    if (field.number == 3) read_normalizer(field.bytes, origin, model);
  }
  return model;
}

void require_convertible(const Model& model, const std::string& origin) {
  constexpr std::array<const char*, 5> kTypes = {"of no type", "Unigram", "BPE", "Word", "Char"};
  constexpr std::array<const char*, 7> kKinds = {"of no kind",   "normal", "unknown", "control",
                                                 "user-defined", "unused", "a byte"};
  if (model.type != 1) {
    fail(
        "{}: is a sentencepiece model of the kind {}, of which there is no tokenizer.json here; Unigram is "
        "supported",
        origin, kTypes[model.type < kTypes.size() ? model.type : 0]);
  }
  for (const Piece& piece : model.pieces) {
    const auto kind = static_cast<std::uint64_t>(piece.kind);
    if (kind >= 1 && kind <= static_cast<std::uint64_t>(Kind::kControl)) continue;
    fail("{}: piece \"{}\" is {}; in a tokenizer.json, normal and control pieces are supported", origin,
         piece.text, kKinds[kind < kKinds.size() ? kind : 0]);
  }
  if (!model.marks_first_word || !model.removes_blanks || !model.marks_blanks || model.marks_behind_words) {
    fail(
        "{}: keeps blanks in another way than a tokenizer.json can say: supported are add_dummy_prefix, "
        "remove_extra_whitespaces and escape_whitespaces without treat_whitespace_as_suffix",
        origin);
  }
}

std::string encode_base64(std::string_view bytes) {
  namespace iterators = boost::archive::iterators;
  using Letters = iterators::base64_from_binary<iterators::transform_width<const char*, 6, 8>>;
  const std::string padded = std::string(bytes) + '\0';  // whose bits fill up the last letter
  std::string text;
  Letters letter(padded.data());
  for (std::size_t i = 0; i < (bytes.size() * 8 + 5) / 6; ++i, ++letter) text.push_back(*letter);
  return text.append((4 - text.size() % 4) % 4, '=');
}

/// Those from number `first` on.
void append_pieces(const Model& model, std::size_t first, const std::string& origin,
                   UnigramSettings& settings) {
  for (std::size_t i = first; i < model.pieces.size(); ++i) {
    append_unigram_piece(model.pieces[i].text, model.pieces[i].score, fmt::format("{}: piece {}", origin, i),
                         settings);
  }
}

void add_special(const std::string& text, bool takes_blank_before, UnigramSettings& settings) {
  settings.frame.added.push_back({.id = settings.vocabulary.at(text),
                                  .content = text,
                                  .single_word = false,
                                  .lstrip = takes_blank_before,
                                  .rstrip = false,
                                  .normalized = false,
                                  .special = true});
}

std::string charsmap_of(const Model& model) {
  return model.charsmap.empty() ? "" : encode_base64(model.charsmap);
}

/// Empty: there is no such token.
std::string control_piece(const Model& model, std::int64_t id, const char* name, const std::string& origin) {
  if (id < 0) return "";
  if (id >= std::ssize(model.pieces) || model.pieces[id].kind != Kind::kControl) {
    fail("{}: {} has the id {}, which is no control piece", origin, name, id);
  }
  return model.pieces[id].text;
}

}  // namespace

UnigramSettings unigram_of_sentencepiece(const std::string& bytes, const std::string& origin) {
  const Model model = read_model(bytes, origin);
  require_convertible(model, origin);
  UnigramSettings settings;
  settings.charsmap = charsmap_of(model);
  settings.strip_right = true;
  settings.blanks = kUnigramMark;
  append_pieces(model, 0, origin, settings);
  const auto unknown = std::ranges::find(model.pieces, Kind::kUnknown, &Piece::kind);
  if (unknown == model.pieces.end()) fail("{}: has no unknown piece", origin);
  settings.unknown = static_cast<std::int32_t>(unknown - model.pieces.begin());
  settings.frame.pad = control_piece(model, model.pad, "pad", origin);
  settings.frame.begin = control_piece(model, model.begin, "bos", origin);
  settings.frame.end = control_piece(model, model.end, "eos", origin);
  if (settings.frame.end.empty()) fail("{}: has no piece for the end of a text (eos)", origin);
  for (const Piece& piece : model.pieces) {
    if (piece.kind != Kind::kNormal) add_special(piece.text, false, settings);
  }
  return settings;
}

UnigramSettings xlm_roberta_of_sentencepiece(const std::string& bytes, const std::string& origin) {
  const Model model = read_model(bytes, origin);
  require_convertible(model, origin);
  constexpr std::array<const char*, 3> kFirst = {"<unk>", "<s>", "</s>"};
  constexpr std::array<const char*, 4> kBefore = {"<s>", "<pad>", "</s>", "<unk>"};
  for (std::size_t i = 0; i < kFirst.size(); ++i) {
    if (i < model.pieces.size() && model.pieces[i].text == kFirst[i]) continue;
    fail("{}: is not XLM-RoBERTa's: its piece {} is not {}", origin, i, kFirst[i]);
  }
  UnigramSettings settings;
  settings.charsmap = charsmap_of(model);
  settings.split_at_space = true;
  for (const char* special : kBefore) append_unigram_piece(special, 0.0, origin, settings);
  append_pieces(model, kFirst.size(), origin, settings);
  append_unigram_piece("<mask>", 0.0, origin, settings);
  settings.unknown = settings.vocabulary.at("<unk>");
  settings.frame.pad = "<pad>";
  settings.frame.begin = "<s>";
  settings.frame.end = "</s>";
  for (const char* special : kBefore) add_special(special, false, settings);
  add_special("<mask>", true, settings);
  return settings;
}

}  // namespace toller
