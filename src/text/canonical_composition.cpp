#include "text/canonical_composition.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uniset.h>

#include <algorithm>

#include "error.h"

namespace toller {
namespace {

void check(UErrorCode status) {
  if (U_FAILURE(status) != 0) fail("ICU cannot normalise text: {}", u_errorName(status));
}

const icu::Normalizer2& newest_form() {
  static const icu::Normalizer2& form = []() -> const icu::Normalizer2& {
    UErrorCode status = U_ZERO_ERROR;
    const icu::Normalizer2* instance = icu::Normalizer2::getNFCInstance(status);
    check(status);
    return *instance;
  }();
  return form;
}

const icu::Normalizer2& form_of_unicode_9() {
  static const icu::FilteredNormalizer2 form = [] {
    UErrorCode status = U_ZERO_ERROR;
    static icu::UnicodeSet known(u"[:age=9.0:]", status);
    check(status);
    known.freeze();
    return icu::FilteredNormalizer2(newest_form(), known);
  }();
  return form;
}

}  // namespace

std::string_view compose_canonically(std::string_view text, std::string& buffer) {
  const auto is_ascii = [](char byte) { return static_cast<unsigned char>(byte) < 0x80; };
  if (std::ranges::all_of(text, is_ascii)) return text;
  const icu::StringPiece piece(text.data(), static_cast<std::int32_t>(text.size()));
  UErrorCode status = U_ZERO_ERROR;
  // What is normal in a newer version is so in an older one: a character that that does not know neither
  // moves nor composes there.
  const bool is_normal = newest_form().isNormalizedUTF8(piece, status) != 0;
  check(status);
  if (is_normal) return text;
  buffer.clear();
  icu::StringByteSink<std::string> sink(&buffer);
  form_of_unicode_9().normalizeUTF8(0, piece, sink, nullptr, status);
  check(status);
  return buffer;
}

}  // namespace toller
