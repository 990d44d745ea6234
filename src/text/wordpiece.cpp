#include "text/wordpiece.h"

#include <unicode/utf8.h>

#include <algorithm>

#include "error.h"
#include "text/unicode.h"
#include "text/wordpiece_file.h"

namespace toller {
namespace {

/// More than any vocabulary has; an id of a damaged file must not ask for the memory of a table of its size.
constexpr std::int32_t kLargestId = (1 << 24) - 1;

}  // namespace

WordPiece::WordPiece(WordPieceSettings settings, const std::string& origin)
    : settings_(std::move(settings)), normalizer_(settings_.normalizer), trie_(settings_.vocabulary) {
  continuation_ = trie_.walk(PieceTrie::kRoot, settings_.continuing_prefix);
  collect_pieces(origin);
  special_.unknown = id_of(settings_.unknown, "unknown", origin);
  special_.begin = id_of(settings_.begin, "begin", origin);
  special_.end = id_of(settings_.end, "end", origin);
  if (!settings_.pad.empty()) special_.pad = id_of(settings_.pad, "padding", origin);
  if (!settings_.vocabulary.contains(settings_.unknown)) {
    fail("{}: the unknown token \"{}\" is not in the vocabulary", origin, settings_.unknown);
  }
  bytes_ = write_wordpiece_json(settings_, special_);
}

void WordPiece::collect_pieces(const std::string& origin) {
  for (const auto& [piece, id] : settings_.vocabulary) add_piece(piece, id, origin);
  left_out_.resize(pieces_.size());
  for (const AddedToken& token : settings_.added) {
    const auto known = settings_.vocabulary.find(token.content);
    if (known == settings_.vocabulary.end()) {
      add_piece(token.content, token.id, origin);
    } else if (known->second != token.id) {
      fail("{}: added token \"{}\" has id {}, but {} in the vocabulary", origin, token.content, token.id,
           known->second);
    }
    left_out_.resize(pieces_.size());
    left_out_[token.id] = token.special;
    std::string pattern = token.normalized ? normalizer_.normalize(token.content) : token.content;
    if (pattern.empty()) fail("{}: added token {} is empty", origin, token.id);
    (token.normalized ? in_normalized_ : in_text_).add(token, std::move(pattern));
  }
  if (in_text_.is_ambiguous() || in_normalized_.is_ambiguous()) {
    fail("{}: added_tokens: one that begins with white space beside one with rstrip is not supported",
         origin);
  }
}

void WordPiece::add_piece(const std::string& piece, std::int32_t id, const std::string& origin) {
  if (id < 0 || id > kLargestId) {
    fail("{}: piece \"{}\" has id {}, outside [0, {}]", origin, piece, id, kLargestId);
  }
  const auto index = static_cast<std::size_t>(id);
  if (index >= pieces_.size()) pieces_.resize(index + 1);
  if (!pieces_[index].empty()) {
    fail("{}: pieces \"{}\" and \"{}\" have the same id {}", origin, pieces_[index], piece, id);
  }
  pieces_[index] = piece;
}

std::int32_t WordPiece::id_of(const std::string& piece, const char* role, const std::string& origin) const {
  if (const auto found = settings_.vocabulary.find(piece); found != settings_.vocabulary.end())
    return found->second;
  const auto added = std::ranges::find(settings_.added, piece, &AddedToken::content);
  if (added == settings_.added.end()) {
    fail("{}: the {} token \"{}\" is not in the vocabulary", origin, role, piece);
  }
  return added->id;
}

void WordPiece::encode(std::string_view text, std::size_t limit, std::vector<std::int32_t>& tokens) const {
  const std::size_t end = tokens.size() + limit;
  std::string replaced;
  if (find_invalid_utf8(text) >= 0) text = replaced = replace_invalid_utf8(text);
  in_text_.split(
      text,
      [&](std::string_view part) {
        encode_normalized(normalizer_.normalize(part), end, tokens);
        return tokens.size() < end;
      },
      [&](std::int32_t id) {
        tokens.push_back(id);
        return tokens.size() < end;
      });
  if (tokens.size() > end) tokens.resize(end);
}

void WordPiece::encode_normalized(std::string_view text, std::size_t end,
                                  std::vector<std::int32_t>& tokens) const {
  in_normalized_.split(
      text,
      [&](std::string_view part) {
        encode_words(part, end, tokens);
        return tokens.size() < end;
      },
      [&](std::int32_t id) {
        tokens.push_back(id);
        return tokens.size() < end;
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
    if (left_out_[token]) continue;
    std::string_view piece = pieces_[token];
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
