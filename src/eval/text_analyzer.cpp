#include "eval/text_analyzer.h"

#include <unicode/brkiter.h>
#include <unicode/unistr.h>

#include <utility>

#include "error.h"

namespace toller {
namespace {

std::unique_ptr<icu::BreakIterator> make_word_breaker() {
  UErrorCode status = U_ZERO_ERROR;
  std::unique_ptr<icu::BreakIterator> words(
      icu::BreakIterator::createWordInstance(icu::Locale::getRoot(), status));
  if (U_FAILURE(status) != 0) fail("ICU: no word break iterator: {}", u_errorName(status));
  return words;
}

}  // namespace

struct TextAnalyzer::Impl {
  std::unique_ptr<icu::BreakIterator> words = make_word_breaker();
};

TextAnalyzer::TextAnalyzer() : impl_(std::make_unique<Impl>()) {}
TextAnalyzer::~TextAnalyzer() = default;

std::vector<std::string> TextAnalyzer::terms(std::string_view text) {
  icu::UnicodeString folded =
      icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<std::int32_t>(text.size())));
  folded.foldCase();
  icu::BreakIterator& words = *impl_->words;
  words.setText(folded);
  std::vector<std::string> terms;
  for (std::int32_t begin = words.first(), end = words.next(); end != icu::BreakIterator::DONE;
       begin = end, end = words.next()) {
    if (words.getRuleStatus() < UBRK_WORD_NONE_LIMIT) continue;
    std::string term;
    folded.tempSubStringBetween(begin, end).toUTF8String(term);
    terms.push_back(std::move(term));
  }
  return terms;
}

}  // namespace toller
