#include "text/byte_level_bpe.h"

#include <algorithm>

#include "error.h"
#include "text/byte_level_bpe_file.h"
#include "text/canonical_composition.h"
#include "text/unicode.h"

namespace toller {
namespace {

/// The character that stands for a byte: itself where it is visible (as Latin-1), otherwise the next of those
/// from U+0100.
char32_t character_of(unsigned char byte) {
  static const auto characters = [] {
    std::array<char32_t, 256> table;
    char32_t next = 0x100;
    for (char32_t b = 0; b < table.size(); ++b) {
      const bool is_visible = (b > ' ' && b < 0x7F) || (b > 0xA0 && b != 0xAD);
      table[b] = is_visible ? b : next++;
    }
    return table;
  }();
  return characters[byte];
}

/// The byte that a character stands for, or −1.
int byte_of(char32_t character) {
  constexpr char32_t kEnd = 0x100 + 68;  // 68 bytes are not visible
  static const auto bytes = [] {
    std::array<int, kEnd> table;
    table.fill(-1);
    for (int byte = 0; byte < 256; ++byte) table[character_of(static_cast<unsigned char>(byte))] = byte;
    return table;
  }();
  return character < kEnd ? bytes[character] : -1;
}

/// The bytes that a piece stands for; false: some of its characters stand for none.
bool append_bytes(std::string_view piece, std::string& bytes) {
  for (std::size_t position = 0; position < piece.size();) {
    const int byte = byte_of(next_character(piece, position));
    if (byte < 0) return false;
    bytes.push_back(static_cast<char>(byte));
  }
  return true;
}

std::vector<BpeMerge> numbered_merges(const ByteLevelBpeSettings& settings, const std::string& origin) {
  const auto id_of = [&](const std::string& piece, std::size_t merge) {
    const auto found = settings.vocabulary.find(piece);
    if (found == settings.vocabulary.end()) {
      fail("{}: model.merges[{}]: \"{}\" is not in the vocabulary", origin, merge, piece);
    }
    return found->second;
  };
  std::vector<BpeMerge> merges;
  merges.reserve(settings.merges.size());
  for (std::size_t i = 0; i < settings.merges.size(); ++i) {
    const auto& [left, right] = settings.merges[i];
    merges.push_back({id_of(left, i), id_of(right, i), id_of(left + right, i)});
  }
  return merges;
}

std::string composed(std::string_view text) {
  std::string buffer;
  return std::string(compose_canonically(text, buffer));
}

}  // namespace

ByteLevelBpe::ByteLevelBpe(ByteLevelBpeSettings settings, const std::string& origin)
    : settings_(std::move(settings)),
      table_(
          settings_.vocabulary, settings_.frame,
          [this](std::string_view text) { return settings_.compose ? composed(text) : std::string(text); },
          origin),
      special_(table_.special()),
      merges_(numbered_merges(settings_, origin)) {
  if (!settings_.unknown.empty()) {
    special_.unknown = id_of_unknown(settings_.vocabulary, settings_.unknown, origin);
  }
  find_bytes();
  whole_words_ = PieceTrie(find_whole_words());
  bytes_ = write_byte_level_bpe_json(settings_, special_);
}

void ByteLevelBpe::find_bytes() {
  for (int byte = 0; byte < 256; ++byte) {
    std::string piece;
    append_utf8(character_of(static_cast<unsigned char>(byte)), piece);
    const auto found = settings_.vocabulary.find(piece);
    ids_of_bytes_[byte] = found == settings_.vocabulary.end() ? special_.unknown : found->second;
  }
}

Vocabulary ByteLevelBpe::find_whole_words() const {
  Vocabulary words;
  Work work;
  std::vector<std::int32_t> merged;
  for (const auto& [piece, id] : settings_.vocabulary) {
    std::string word;
    if (!append_bytes(piece, word) || word.empty()) continue;
    if (!settings_.ignore_merges) {
      merged.clear();
      merge_bytes(word, work, merged);
      if (merged.size() != 1 || merged.front() != id) continue;
    }
    words.emplace(std::move(word), id);
  }
  return words;
}

void ByteLevelBpe::encode(std::string_view text, std::size_t limit, std::vector<std::int32_t>& tokens) const {
  Work work;
  table_.encode(
      text, limit, tokens,
      [this](std::string_view part, std::string& buffer) {
        return settings_.compose ? compose_canonically(part, buffer) : part;
      },
      [&](std::string_view part, std::size_t end, std::vector<std::int32_t>& to) {
        encode_words(part, end, work, to);
      });
}

/// Stops when there are `end` tokens or more.
void ByteLevelBpe::encode_words(std::string_view text, std::size_t end, Work& work,
                                std::vector<std::int32_t>& tokens) const {
  if (settings_.prefix_space && text.front() != ' ') {
    work.prefixed.assign(1, ' ').append(text);
    text = work.prefixed;
  }
  for (std::size_t begin = 0; begin < text.size() && tokens.size() < end;) {
    const std::size_t last = end_of_word(settings_.words, text, begin);
    const std::string_view word = text.substr(begin, last - begin);
    const PieceTrie::Match whole = whole_words_.longest(PieceTrie::kRoot, word);
    if (whole.length == word.size()) {
      tokens.push_back(whole.id);
    } else {
      merge_bytes(word, work, tokens);
    }
    begin = last;
  }
}

void ByteLevelBpe::merge_bytes(std::string_view word, Work& work, std::vector<std::int32_t>& tokens) const {
  work.pieces.clear();
  for (const char byte : word) {
    const std::int32_t id = ids_of_bytes_[static_cast<unsigned char>(byte)];
    if (id >= 0) work.pieces.push_back(id);
  }
  merges_.merge(work.pieces, work.merging, tokens);
}

std::string ByteLevelBpe::decode(std::span<const std::int32_t> tokens) const {
  std::string bytes;
  for (const std::int32_t token : tokens) {
    if (table_.is_left_out(token)) continue;
    std::string bytes_of_piece;
    const std::string& piece = table_.piece(token);
    bytes += append_bytes(piece, bytes_of_piece) ? bytes_of_piece : piece;
  }
  return replace_invalid_utf8(bytes);
}

}  // namespace toller
