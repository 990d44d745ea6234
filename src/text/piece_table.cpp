#include "text/piece_table.h"

#include "error.h"

namespace toller {
namespace {

/// More than any vocabulary has; an id of a damaged file must not ask for the memory of a table of its size.
constexpr std::int32_t kLargestId = (1 << 24) - 1;

}  // namespace

PieceTable::PieceTable(const Vocabulary& vocabulary, const TokenizerFrame& frame,
                       const std::function<std::string(std::string_view)>& normalize, std::string origin)
    : origin_(std::move(origin)),
      in_text_(patterns_of(frame.added, false, normalize)),
      in_normalized_(patterns_of(frame.added, true, normalize)) {
  for (const auto& [piece, id] : vocabulary) add_piece(piece, id);
  auto next = static_cast<std::int32_t>(vocabulary.size());
  for (const AddedToken& token : frame.added) {
    const auto known = vocabulary.find(token.content);
    if (known == vocabulary.end()) {
      if (token.id != next) {
        fail("{}: added token \"{}\" has id {}, expected {}: those that are not in the vocabulary follow it",
             origin_, token.content, token.id, next);
      }
      ++next;
      add_piece(token.content, token.id);
    } else if (known->second != token.id) {
      fail("{}: added token \"{}\" has id {}, but {} in the vocabulary", origin_, token.content, token.id,
           known->second);
    }
  }
  left_out_.resize(pieces_.size());
  for (const AddedToken& token : frame.added) left_out_[token.id] = token.special;

  const auto id_of = [&](const std::string& piece, const char* role) {
    const auto id = find_id(vocabulary, frame.added, piece);
    if (!id) fail("{}: the {} token \"{}\" is not in the vocabulary", origin_, role, piece);
    return *id;
  };
  if (!frame.begin.empty()) special_.begin = id_of(frame.begin, "begin");
  special_.end = id_of(frame.end, "end");
  if (!frame.pad.empty()) special_.pad = id_of(frame.pad, "padding");
}

void PieceTable::add_piece(const std::string& piece, std::int32_t id) {
  if (id < 0 || id > kLargestId) {
    fail("{}: piece \"{}\" has id {}, outside [0, {}]", origin_, piece, id, kLargestId);
  }
  const auto index = static_cast<std::size_t>(id);
  if (index >= pieces_.size()) pieces_.resize(index + 1);
  if (!pieces_[index].empty()) {
    fail("{}: pieces \"{}\" and \"{}\" have the same id {}", origin_, pieces_[index], piece, id);
  }
  pieces_[index] = piece;
}

AddedTokenSearch::Patterns PieceTable::patterns_of(
    const std::vector<AddedToken>& tokens, bool normalized,
    const std::function<std::string(std::string_view)>& normalize) const {
  AddedTokenSearch::Patterns patterns;
  for (const AddedToken& token : tokens) {
    if (token.normalized != normalized) continue;
    std::string pattern = normalized ? normalize(token.content) : token.content;
    if (pattern.empty()) fail("{}: added token {} is empty", origin_, token.id);
    const auto [entry, is_new] = patterns.emplace(std::move(pattern), token);
    if (!is_new) fail("{}: added_tokens: \"{}\" is looked for twice", origin_, entry->first);
  }
  if (AddedTokenSearch::is_ambiguous(patterns)) {
    fail("{}: added_tokens: one that begins with white space beside one with rstrip is not supported",
         origin_);
  }
  return patterns;
}

}  // namespace toller
