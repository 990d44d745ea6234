// Where grapheme clusters end (Unicode Standard Annex 29, extended clusters), as of Unicode 17: those that
// the `tokenizers` library's normaliser goes by, whatever ICU knows.
#pragma once

namespace toller {

/// Goes through a text, a character at a time.
class GraphemeBreaks {
 public:
  /// Whether a cluster ends before the next character; true before the first.
  bool breaks_before(char32_t next);

  /// What the rules ask of a character. Those from kPictographic to kRegional join nothing by themselves.
  enum class Kind : unsigned char {
    kOther,
    kPictographic,
    kConsonant,  ///< of scripts with conjuncts
    kRegional,
    kControl,
    kCarriageReturn,
    kLineFeed,
    kExtend,
    kLinker,     ///< extends, and joins the consonants on both sides
    kNonJoiner,  ///< extends, and keeps consonants apart
    kJoiner,
    kSpacingMark,
    kPrepend,
    kHangulL,
    kHangulV,
    kHangulT,
    kHangulLv,
    kHangulLvt
  };

 private:
  bool is_joined(Kind next) const;

  Kind previous_ = Kind::kControl;
  bool odd_regionals_ = false;       ///< an odd number of them ends here
  bool pictograph_extends_ = false;  ///< a pictograph and what extends it ends here
  bool pictograph_joins_ = false;    ///< and a joiner
  bool consonant_extends_ = false;   ///< a consonant with extending characters ends here
  bool consonant_links_ = false;     ///< a linker among them
};

}  // namespace toller
