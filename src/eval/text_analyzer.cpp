#include "eval/text_analyzer.h"

#include <libstemmer.h>
#include <unicode/brkiter.h>
#include <unicode/unistr.h>

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

std::string stemmer_names() {
  std::string names = "none";
  for (const char** name = sb_stemmer_list(); *name != nullptr; ++name) names += fmt::format(", {}", *name);
  return names;
}

struct StemmerDeleter {
  void operator()(sb_stemmer* stemmer) const { sb_stemmer_delete(stemmer); }
};

}  // namespace

struct TextAnalyzer::Impl {
  std::unique_ptr<icu::BreakIterator> words = make_word_breaker();
  std::unique_ptr<sb_stemmer, StemmerDeleter> stemmer;

  std::string stem(const std::string& term) {
    if (!stemmer) return term;
    const auto* stemmed = sb_stemmer_stem(stemmer.get(), reinterpret_cast<const sb_symbol*>(term.data()),
                                          static_cast<int>(term.size()));
    if (stemmed == nullptr) fail("stemmer: out of memory");
    return {reinterpret_cast<const char*>(stemmed),
            static_cast<std::size_t>(sb_stemmer_length(stemmer.get()))};
  }
};

TextAnalyzer::TextAnalyzer(const std::string& stemmer) : impl_(std::make_unique<Impl>()) {
  if (stemmer == "none") return;
  impl_->stemmer.reset(sb_stemmer_new(stemmer.c_str(), nullptr));
  if (!impl_->stemmer) fail_usage("unknown stemmer '{}'; known are {}", stemmer, stemmer_names());
}

TextAnalyzer::TextAnalyzer(TextAnalyzer&&) noexcept = default;
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
    terms.push_back(impl_->stem(term));
  }
  return terms;
}

}  // namespace toller
