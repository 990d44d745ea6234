#include "text/unigram.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "error.h"
#include "text/unicode.h"
#include "text/unigram_file.h"

namespace toller {
namespace {

constexpr std::string_view kMark = kUnigramMark;
constexpr double kUnknownPenalty = 10.0;  ///< below the least score

/// The score as the library reads it, which may be off by the last bit: the digits as a number, divided by a
/// power of ten. It decides where two ways to divide a word are equally good but for rounding.
double score_of_library(double score) {
  char text[32];
  *std::to_chars(text, std::end(text) - 1, std::abs(score), std::chars_format::scientific).ptr = '\0';
  std::uint64_t digits = 0;
  int exponent = 0;
  const char* at = text;
  for (; *at != 'e'; ++at) {
    if (*at == '.') continue;
    digits = 10 * digits + static_cast<std::uint64_t>(*at - '0');
    if (at > text) --exponent;
  }
  exponent += std::atoi(at + 1);
  const double power = std::strtod(("1e" + std::to_string(std::abs(exponent))).c_str(), nullptr);
  const auto number = static_cast<double>(digits);
  return std::copysign(exponent < 0 ? number / power : number * power, score);
}

std::string_view strip(std::string_view text, bool left, bool right) {
  for (std::size_t next = 0; left && next < text.size() && is_space(next_character(text, next)); next = 0) {
    text.remove_prefix(next);
  }
  for (std::size_t last = text.size(); right && last > 0 && is_space(previous_character(text, last));) {
    text = text.substr(0, last);
  }
  return text;
}

std::string with_runs_replaced(std::string_view text, std::string_view replacement) {
  std::string replaced;
  for (std::size_t position = 0; position < text.size();) {
    const std::size_t blank = std::min(text.find("  ", position), text.size());
    replaced += text.substr(position, blank - position);
    position = std::min(text.find_first_not_of(' ', blank), text.size());
    if (position > blank) replaced += replacement;
  }
  return replaced;
}

}  // namespace

Unigram::Unigram(UnigramSettings settings, const std::string& origin)
    : settings_(std::move(settings)),
      normalizer_(settings_.charsmap.empty()
                      ? nullptr
                      : std::make_unique<PrecompiledNormalizer>(settings_.charsmap, origin)),
      table_(
          settings_.vocabulary, settings_.frame, [this](std::string_view text) { return normalize(text); },
          origin),
      special_(table_.special()),
      trie_(settings_.vocabulary) {
  if (settings_.unknown >= std::ssize(settings_.scores)) {
    fail("{}: model.unk_id is {}, but there are {} pieces", origin, settings_.unknown,
         settings_.scores.size());
  }
  special_.unknown = settings_.unknown;
  for (const double score : settings_.scores) scores_.push_back(score_of_library(score));
  unknown_score_ = std::ranges::min(scores_) - kUnknownPenalty;
  bytes_ = write_unigram_json(settings_, special_);
}

std::string Unigram::normalize(std::string_view text) const {
  std::string normalized = normalizer_ ? normalizer_->normalize(text) : std::string(text);
  if (settings_.strip_left || settings_.strip_right) {
    normalized = strip(normalized, settings_.strip_left, settings_.strip_right);
  }
  if (!settings_.blanks || normalized.find("  ") == std::string::npos) return normalized;
  return with_runs_replaced(normalized, *settings_.blanks);
}

void Unigram::encode(std::string_view text, std::size_t limit, std::vector<std::int32_t>& tokens) const {
  Work work;
  table_.encode(
      text, limit, tokens,
      [this](std::string_view part, std::string& buffer) -> std::string_view {
        return buffer = normalize(part);
      },
      [&](std::string_view part, std::size_t end, std::vector<std::int32_t>& to) {
        encode_part(part, end, work, to);
      });
}

void Unigram::encode_part(std::string_view text, std::size_t end, Work& work,
                          std::vector<std::int32_t>& tokens) const {
  if (!settings_.split_at_space) return encode_words(text, end, work, tokens);
  std::size_t begin = 0;
  for (std::size_t position = 0; position < text.size() && tokens.size() < end;) {
    const std::size_t start = position;
    if (!is_space(next_character(text, position))) continue;
    if (begin < start) encode_words(text.substr(begin, start - begin), end, work, tokens);
    begin = position;
  }
  if (begin < text.size() && tokens.size() < end) encode_words(text.substr(begin), end, work, tokens);
}

/// A word begins with each mark, and there is one before the first. Stops when there are `end` tokens or
/// more.
void Unigram::encode_words(std::string_view text, std::size_t end, Work& work,
                           std::vector<std::int32_t>& tokens) const {
  work.words.clear();
  if (!text.starts_with(' ') && !text.starts_with(kMark)) work.words += kMark;
  for (const char byte : text) {
    if (byte == ' ') {
      work.words += kMark;
    } else {
      work.words.push_back(byte);
    }
  }
  const std::string_view words = work.words;
  for (std::size_t begin = 0; begin < words.size() && tokens.size() < end;) {
    const std::size_t last = std::min(words.find(kMark, begin + 1), words.size());
    encode_word(words.substr(begin, last - begin), work, tokens);
    begin = last;
  }
}

/// Neighbouring characters without a piece are one unknown token.
void Unigram::encode_word(std::string_view word, Work& work, std::vector<std::int32_t>& tokens) const {
  find_best_steps(word, work.steps);
  work.tokens.clear();
  std::size_t place = word.size();
  while (place > 0) {
    const std::size_t end = place;
    const std::int32_t id = work.steps[place].id;
    do place = static_cast<std::size_t>(work.steps[place].start);
    while (id == special_.unknown && place > 0 && work.steps[place].id == id);
    const std::string_view unknown = word.substr(place, end - place);
    const PieceTrie::Match piece =
        id == special_.unknown ? trie_.longest(PieceTrie::kRoot, unknown) : PieceTrie::Match{};
    work.tokens.push_back(piece.length == unknown.size() ? piece.id : id);
  }
  tokens.insert(tokens.end(), work.tokens.rbegin(), work.tokens.rend());
}

/// The Viterbi algorithm; of equally good ways the first found stays.
void Unigram::find_best_steps(std::string_view word, std::vector<Step>& steps) const {
  steps.assign(word.size() + 1, {});
  for (std::size_t start = 0; start < word.size();) {
    std::size_t next = start;
    next_character(word, next);
    const double score = steps[start].score;
    bool has_character = false;
    const auto offer = [&](std::size_t end, double piece_score, std::int32_t id) {
      Step& step = steps[end];
      if (step.start >= 0 && piece_score + score <= step.score) return;
      step = {piece_score + score, static_cast<std::int32_t>(start), id};
    };
    trie_.prefixes(PieceTrie::kRoot, word.substr(start), [&](const PieceTrie::Match& piece) {
      offer(start + piece.length, scores_[piece.id], piece.id);
      has_character = has_character || start + piece.length == next;
    });
    if (!has_character) offer(next, unknown_score_, special_.unknown);
    start = next;
  }
}

std::string Unigram::decode(std::span<const std::int32_t> tokens) const {
  std::string text;
  bool is_first = true;
  for (const std::int32_t token : tokens) {
    if (table_.is_left_out(token)) continue;
    std::string_view piece = table_.piece(token);
    for (std::size_t mark = piece.find(kMark); mark != std::string_view::npos; mark = piece.find(kMark)) {
      text += piece.substr(0, mark);
      if (!is_first) text.push_back(' ');
      piece.remove_prefix(mark + kMark.size());
    }
    text += piece;
    is_first = false;
  }
  return text;
}

}  // namespace toller
