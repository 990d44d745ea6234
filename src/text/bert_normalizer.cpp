#include "text/bert_normalizer.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf.h>

#include <algorithm>
#include <vector>

#include "error.h"
#include "text/character_range.h"
#include "text/character_table.h"
#include "text/unicode.h"

namespace toller {
namespace {

/// Unicode versions of the library's tables.
constexpr int kCategoriesVersion = 8;
constexpr int kNormalizationVersion = 9;

bool is_known(char32_t character, int unicode_version) {
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(character), age);
  return age[0] <= unicode_version;  // an unassigned character has age 0, and no properties either
}

/// Whether Unicode 8.0 had the character in one of these categories (U_GC_…_MASK) and ICU's version still
/// has.
bool is_in_category(char32_t character, std::uint32_t mask) {
  return (U_MASK(u_charType(static_cast<UChar32>(character))) & mask) != 0 &&
         is_known(character, kCategoriesVersion);
}

bool is_punctuation(char32_t character) {
  if (character < 0x80)
    return character > ' ' && character < 0x7F && u_isalnum(static_cast<UChar32>(character)) == 0;
  // Two that have become other things since.
  return is_in_category(character, U_GC_P_MASK) || character == 0x166D || character == 0x111C9;
}

bool is_nonspacing_mark(char32_t character) {
  switch (character) {
    case 0x1734:  // a spacing mark since Unicode 14
      return true;
    case 0x1885:  // nonspacing only since Unicode 9, 11 and 10
    case 0x1886:
    case 0xA9BD:
    case 0x111C9:
      return false;
    default:
      return is_in_category(character, U_GC_MN_MASK);
  }
}

/// Control and format characters and those for private use, but not what is merely unassigned.
bool is_dropped(char32_t character) {
  if (character == '\t' || character == '\n' || character == '\r') return false;
  return character == 0xFFFD || is_in_category(character, U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK);
}

bool is_chinese(char32_t character) {
  static constexpr CharacterRange kBlocks[] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},
                                               {0x20000, 0x2A6DF}, {0x2A700, 0x2B81F}, {0x2B920, 0x2CEAF},
                                               {0x2F800, 0x2FA1F}};
  return is_in(character, kBlocks);
}

/// Lower case of a character, except U+0130 (two characters). Capital letters of Unicode 16 and 17, which
/// ICU may be too old to know, are listed.
char32_t lower_case(char32_t character) {
  struct Shift {
    char32_t first, last, lower_of_first;
  };
  static constexpr Shift kYoung[] = {{0x10D50, 0x10D65, 0x10D70}, {0x16EA0, 0x16EB8, 0x16EBB},
                                     {0xA7CB, 0xA7CB, 0x264},     {0xA7DC, 0xA7DC, 0x19B},
                                     {0x1C89, 0x1C89, 0x1C8A},    {0xA7CC, 0xA7CC, 0xA7CD},
                                     {0xA7CE, 0xA7CE, 0xA7CF},    {0xA7D2, 0xA7D2, 0xA7D3},
                                     {0xA7D4, 0xA7D4, 0xA7D5},    {0xA7DA, 0xA7DA, 0xA7DB}};
  for (const Shift& shift : kYoung) {
    if (shift.first <= character && character <= shift.last)
      return character - shift.first + shift.lower_of_first;
  }
  return static_cast<char32_t>(u_tolower(static_cast<UChar32>(character)));
}

std::uint8_t combining_class(char32_t character) {
  return is_known(character, kNormalizationVersion) ? u_getCombiningClass(static_cast<UChar32>(character))
                                                    : 0;
}

/// False: the character stands for itself.
bool decompose(char32_t character, icu::UnicodeString& decomposition) {
  static const icu::Normalizer2& nfd = []() -> const icu::Normalizer2& {
    UErrorCode status = U_ZERO_ERROR;
    const icu::Normalizer2* instance = icu::Normalizer2::getNFDInstance(status);
    if (U_FAILURE(status) != 0) fail("ICU has no data for NFD: {}", u_errorName(status));
    return *instance;
  }();
  return nfd.getDecomposition(static_cast<UChar32>(character), decomposition) != 0 &&
         is_known(character, kNormalizationVersion);
}

BertCharacter character_of(char32_t character) {
  if (is_space(character)) return BertCharacter::kSpace;
  return is_punctuation(character) ? BertCharacter::kPunctuation : BertCharacter::kOther;
}

// Actions: below 0x10000 the character that replaces; with kIsolated, between two blanks.
constexpr std::uint32_t kIsolated = 0x10000;
constexpr std::uint32_t kDropped = 0x20000;
constexpr std::uint32_t kByRule = 0x40000;  ///< takes the whole of the rules

}  // namespace

BertCharacter bert_character(char32_t character) {
  return look_up<character_of>(character);
}

/// Normalised text as it grows. Marks that canonical order may still move wait until a starter comes.
class BertNormalizer::Output {
 public:
  explicit Output(const BertNormalizerOptions& options)
      : options_(options), strip_accents_(options.strip_accents.value_or(options.lowercase)) {}

  std::string text;

  /// All rules on one character.
  void apply(char32_t character) {
    if (options_.clean_text) {
      if (is_dropped(character)) return;
      if (is_space(character)) character = ' ';
    }
    if (options_.handle_chinese_chars && is_chinese(character)) {
      strip(' ');
      strip(character);
      strip(' ');
    } else {
      strip(character);
    }
  }

  /// What an action says, other than kByRule.
  void perform(std::uint32_t action) {
    if (action == kDropped) return;
    if (!waiting_.empty()) release();
    if (action < 0x80) {
      text.push_back(static_cast<char>(action));
    } else if (action < kIsolated) {
      append_utf8(action, text);
    } else {
      text.push_back(' ');
      append_utf8(action - kIsolated, text);
      text.push_back(' ');
    }
  }

  void release() {
    seen_starter_ = true;
    std::ranges::stable_sort(waiting_, {}, &Mark::combining_class);
    for (const Mark& mark : waiting_) append(mark.character);
    waiting_.clear();
  }

  /// Whether what was applied so far ends in nothing that waits, and whether a starter was in it.
  bool is_settled() const { return waiting_.empty(); }
  bool seen_starter() const { return seen_starter_; }

 private:
  struct Mark {
    std::uint8_t combining_class;
    char32_t character;
  };

  void strip(char32_t character) {
    if (!strip_accents_) return append(character);
    icu::UnicodeString decomposition;
    if (!decompose(character, decomposition)) return add_decomposed(character);
    for (int i = 0; i < decomposition.length(); i = decomposition.moveIndex32(i, 1)) {
      add_decomposed(static_cast<char32_t>(decomposition.char32At(i)));
    }
  }

  /// Marks that are left out need not be put in order: the order of the others does not depend on them.
  void add_decomposed(char32_t character) {
    const std::uint8_t combining = combining_class(character);
    if (combining == 0) release();
    if (is_nonspacing_mark(character)) return;
    if (combining != 0) {
      waiting_.push_back({combining, character});
    } else {
      append(character);
    }
  }

  void append(char32_t character) {
    if (options_.lowercase && character == 0x130) {
      text += "i\u0307";
    } else {
      append_utf8(options_.lowercase ? lower_case(character) : character, text);
    }
  }

  const BertNormalizerOptions& options_;
  bool strip_accents_;
  std::vector<Mark> waiting_;
  bool seen_starter_ = false;
};

BertNormalizer::BertNormalizer(const BertNormalizerOptions& options)
    : options_(options), actions_(std::make_unique<Actions>()) {
  for (char32_t c = 0; c < actions_->size(); ++c) (*actions_)[c] = action_of(c);
}

std::uint32_t BertNormalizer::action_of(char32_t character) const {
  if (U_IS_SURROGATE(character)) return kByRule;
  Output output(options_);
  output.apply(character);
  if (!output.is_settled()) return kByRule;
  const std::string_view text = output.text;
  if (text.empty()) return output.seen_starter() ? kByRule : kDropped;
  const bool isolated = text.size() > 2 && text.starts_with(' ');
  const std::string_view inner = isolated ? text.substr(1, text.size() - 2) : text;
  std::size_t used = 0;
  const char32_t replacement = next_character(inner, used);
  if (used != inner.size() || replacement > 0xFFFF) return kByRule;
  return replacement | (isolated ? kIsolated : 0);
}

std::string BertNormalizer::normalize(std::string_view text) const {
  Output output(options_);
  output.text.reserve(text.size() + text.size() / 4);
  for (std::size_t position = 0; position < text.size();) {
    const char32_t character = next_character(text, position);
    const std::uint32_t action = character < actions_->size() ? (*actions_)[character] : kByRule;
    if (action == kByRule) {
      output.apply(character);
    } else {
      output.perform(action);
    }
  }
  output.release();
  return std::move(output.text);
}

}  // namespace toller
