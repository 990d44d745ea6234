#include "text/wordpiece.h"

#include <unicode/utf8.h>

#include <algorithm>

#include "error.h"
#include "text/unicode.h"
#include "text/wordpiece_file.h"

namespace toller {

WordPiece::WordPiece(WordPieceSettings settings, const std::string& origin)
    : settings_(std::move(settings)),
      normalizer_(settings_.normalizer),
      trie_(settings_.vocabulary),
      continuation_(trie_.walk(PieceTrie::kRoot, settings_.continuing_prefix)),
      table_(
          settings_.vocabulary, settings_.frame,
          [this](std::string_view text) { return normalizer_.normalize(text); }, origin),
      special_(table_.special()) {
  special_.unknown = id_of_unknown(settings_.vocabulary, settings_.unknown, origin);
  bytes_ = write_wordpiece_json(settings_, special_);
}

void WordPiece::encode(std::string_view text, std::size_t limit, std::vector<std::int32_t>& tokens) const {
  table_.encode(
      text, limit, tokens,
      [this](std::string_view part, std::string& buffer) -> std::string_view {
        return buffer = normalizer_.normalize(part);
      },
      [this](std::string_view part, std::size_t end, std::vector<std::int32_t>& to) {
        encode_words(part, end, to);
      });
}

/// Stops when there are `end` tokens or more.
void WordPiece::encode_words(std::string_view text, std::size_t end,
                             std::vector<std::int32_t>& tokens) const {
  std::size_t begin = 0;
  const auto end_word = [&](std::size_t last) {
    if (begin < last) encode_word(text.substr(begin, last - begin), tokens);
  };
  for (std::size_t position = 0; position < text.size() && tokens.size() < end;) {
    const std::size_t start = position;
    const BertCharacter kind = bert_character(next_character(text, position));
    if (kind == BertCharacter::kOther) continue;
    end_word(start);
    begin = kind == BertCharacter::kPunctuation ? start : position;
    end_word(position);
    begin = position;
  }
  if (tokens.size() < end) end_word(text.size());
}

void WordPiece::encode_word(std::string_view word, std::vector<std::int32_t>& tokens) const {
  const std::size_t before = tokens.size();
  if (!is_too_long(word)) {
    for (std::int32_t node = PieceTrie::kRoot; node >= 0 && !word.empty(); node = continuation_) {
      const PieceTrie::Match match = trie_.longest(node, word);
      if (match.id < 0) break;
      tokens.push_back(match.id);
      word.remove_prefix(match.length);
    }
    if (word.empty()) return;
  }
  tokens.resize(before);
  tokens.push_back(special_.unknown);
}

bool WordPiece::is_too_long(std::string_view word) const {
  const std::int64_t most = settings_.max_characters_of_word;
  if (std::ssize(word) <= most) return false;
  return std::ranges::count_if(word, [](char byte) { return !U8_IS_TRAIL(byte); }) > most;
}

std::string WordPiece::decode(std::span<const std::int32_t> tokens) const {
  std::string text;
  for (const std::int32_t token : tokens) {
    if (table_.is_left_out(token)) continue;
    std::string_view piece = table_.piece(token);
    if (!text.empty()) {
      if (piece.starts_with(settings_.continuing_prefix)) {
        piece.remove_prefix(settings_.continuing_prefix.size());
      } else {
        text.push_back(' ');
      }
    }
    text += piece;
  }
  return text;
}

}  // namespace toller
