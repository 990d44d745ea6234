#include "text/grapheme_breaks.h"

#include <unicode/uchar.h>

#include "text/character_range.h"
#include "text/character_table.h"

namespace toller {
namespace {

using Kind = GraphemeBreaks::Kind;

/// Where Unicode 17 differs from Unicode 14, and what ICU has no property for before Unicode 15.1.
constexpr CharacterRange kExtend[] = {
    {0x897, 0x897},     {0xCC0, 0xCC0},     {0xCC7, 0xCC8},     {0xCCA, 0xCCB},     {0xECE, 0xECE},
    {0x1715, 0x1715},   {0x1734, 0x1734},   {0x1ACF, 0x1ADD},   {0x1AE0, 0x1AEB},   {0x1B3B, 0x1B3B},
    {0x1B3D, 0x1B3D},   {0x1B43, 0x1B44},   {0x1BAA, 0x1BAA},   {0x1BF2, 0x1BF3},   {0xA953, 0xA953},
    {0xA9C0, 0xA9C0},   {0x10D69, 0x10D6D}, {0x10EFA, 0x10EFF}, {0x111C0, 0x111C0}, {0x11235, 0x11235},
    {0x11241, 0x11241}, {0x1134D, 0x1134D}, {0x113B8, 0x113B8}, {0x113BB, 0x113C0}, {0x113C2, 0x113C2},
    {0x113C5, 0x113C5}, {0x113C7, 0x113C9}, {0x113CE, 0x113D0}, {0x113D2, 0x113D2}, {0x113E1, 0x113E2},
    {0x116B6, 0x116B6}, {0x1193D, 0x1193D}, {0x11B60, 0x11B60}, {0x11B62, 0x11B64}, {0x11B66, 0x11B66},
    {0x11F00, 0x11F01}, {0x11F36, 0x11F3A}, {0x11F40, 0x11F42}, {0x11F5A, 0x11F5A}, {0x13440, 0x13440},
    {0x13447, 0x13455}, {0x1611E, 0x16129}, {0x1612D, 0x1612F}, {0x16FF0, 0x16FF1}, {0x1D166, 0x1D166},
    {0x1D16D, 0x1D16D}, {0x1E08F, 0x1E08F}, {0x1E4EC, 0x1E4EF}, {0x1E5EE, 0x1E5EF}, {0x1E6E3, 0x1E6E3},
    {0x1E6E6, 0x1E6E6}, {0x1E6EE, 0x1E6EF}, {0x1E6F5, 0x1E6F5}};
constexpr CharacterRange kSpacingMarks[] = {{0xCF3, 0xCF3},     {0x113B9, 0x113BA}, {0x113CA, 0x113CA},
                                            {0x113CC, 0x113CD}, {0x1171E, 0x1171E}, {0x11B61, 0x11B61},
                                            {0x11B65, 0x11B65}, {0x11B67, 0x11B67}, {0x11F03, 0x11F03},
                                            {0x11F34, 0x11F35}, {0x11F3E, 0x11F3F}, {0x1612A, 0x1612C}};
constexpr CharacterRange kPrepended[] = {{0x113D1, 0x113D1}, {0x11F02, 0x11F02}};
constexpr CharacterRange kVowels[] = {{0x16D63, 0x16D63}, {0x16D67, 0x16D6A}};
constexpr CharacterRange kNotPictographic[] = {{0x1F774, 0x1F77F}, {0x1F7D9, 0x1F7D9}, {0x1F8B2, 0x1F8BB},
                                               {0x1F8C0, 0x1F8C1}, {0x1F8D0, 0x1F8D8}, {0x1FA54, 0x1FA57}};
constexpr CharacterRange kConsonants[] = {
    {0x915, 0x939},     {0x958, 0x95F},     {0x978, 0x97F},     {0x995, 0x9A8},     {0x9AA, 0x9B0},
    {0x9B2, 0x9B2},     {0x9B6, 0x9B9},     {0x9DC, 0x9DD},     {0x9DF, 0x9DF},     {0x9F0, 0x9F1},
    {0xA95, 0xAA8},     {0xAAA, 0xAB0},     {0xAB2, 0xAB3},     {0xAB5, 0xAB9},     {0xAF9, 0xAF9},
    {0xB15, 0xB28},     {0xB2A, 0xB30},     {0xB32, 0xB33},     {0xB35, 0xB39},     {0xB5C, 0xB5D},
    {0xB5F, 0xB5F},     {0xB71, 0xB71},     {0xC15, 0xC28},     {0xC2A, 0xC39},     {0xC58, 0xC5A},
    {0xD15, 0xD3A},     {0x1000, 0x102A},   {0x103F, 0x103F},   {0x1050, 0x1055},   {0x105A, 0x105D},
    {0x1061, 0x1061},   {0x1065, 0x1066},   {0x106E, 0x1070},   {0x1075, 0x1081},   {0x108E, 0x108E},
    {0x1780, 0x17B3},   {0x1A20, 0x1A54},   {0x1B0B, 0x1B0C},   {0x1B13, 0x1B33},   {0x1B45, 0x1B4C},
    {0x1B83, 0x1BA0},   {0x1BAE, 0x1BAF},   {0x1BBB, 0x1BBD},   {0xA989, 0xA98B},   {0xA98F, 0xA9B2},
    {0xA9E0, 0xA9E4},   {0xA9E7, 0xA9EF},   {0xA9FA, 0xA9FE},   {0xAA60, 0xAA6F},   {0xAA71, 0xAA73},
    {0xAA7A, 0xAA7A},   {0xAA7E, 0xAA7F},   {0xAAE0, 0xAAEA},   {0xABC0, 0xABDA},   {0x10A00, 0x10A00},
    {0x10A10, 0x10A13}, {0x10A15, 0x10A17}, {0x10A19, 0x10A35}, {0x11103, 0x11126}, {0x11144, 0x11144},
    {0x11147, 0x11147}, {0x11380, 0x11389}, {0x1138B, 0x1138B}, {0x1138E, 0x1138E}, {0x11390, 0x113B5},
    {0x11900, 0x11906}, {0x11909, 0x11909}, {0x1190C, 0x11913}, {0x11915, 0x11916}, {0x11918, 0x1192F},
    {0x11A00, 0x11A00}, {0x11A0B, 0x11A32}, {0x11A50, 0x11A50}, {0x11A5C, 0x11A83}, {0x11F04, 0x11F10},
    {0x11F12, 0x11F33}};
constexpr CharacterRange kLinkers[] = {
    {0x94D, 0x94D},     {0x9CD, 0x9CD},     {0xACD, 0xACD},     {0xB4D, 0xB4D},     {0xC4D, 0xC4D},
    {0xD4D, 0xD4D},     {0x1039, 0x1039},   {0x17D2, 0x17D2},   {0x1A60, 0x1A60},   {0x1B44, 0x1B44},
    {0x1BAB, 0x1BAB},   {0xA9C0, 0xA9C0},   {0xAAF6, 0xAAF6},   {0x10A3F, 0x10A3F}, {0x11133, 0x11133},
    {0x113D0, 0x113D0}, {0x1193E, 0x1193E}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11F42, 0x11F42}};

/// Since Unicode 17 of the assigned characters only emoji.
bool is_pictographic(char32_t character) {
  const auto c = static_cast<UChar32>(character);
  return u_hasBinaryProperty(c, UCHAR_EXTENDED_PICTOGRAPHIC) != 0 &&
         (u_hasBinaryProperty(c, UCHAR_EMOJI) != 0 || u_charType(c) == U_UNASSIGNED) &&
         !is_in(character, kNotPictographic);
}

Kind kind_of_icu(char32_t character) {
  switch (u_getIntPropertyValue(static_cast<UChar32>(character), UCHAR_GRAPHEME_CLUSTER_BREAK)) {
    case U_GCB_CONTROL:
      return Kind::kControl;
    case U_GCB_CR:
      return Kind::kCarriageReturn;
    case U_GCB_LF:
      return Kind::kLineFeed;
    case U_GCB_EXTEND:
      return Kind::kExtend;
    case U_GCB_ZWJ:
      return Kind::kJoiner;
    case U_GCB_SPACING_MARK:
      return Kind::kSpacingMark;
    case U_GCB_PREPEND:
      return Kind::kPrepend;
    case U_GCB_REGIONAL_INDICATOR:
      return Kind::kRegional;
    case U_GCB_L:
      return Kind::kHangulL;
    case U_GCB_V:
      return Kind::kHangulV;
    case U_GCB_T:
      return Kind::kHangulT;
    case U_GCB_LV:
      return Kind::kHangulLv;
    case U_GCB_LVT:
      return Kind::kHangulLvt;
    default:
      return is_pictographic(character) ? Kind::kPictographic : Kind::kOther;
  }
}

Kind find_kind(char32_t character) {
  constexpr char32_t kZeroWidthNonJoiner = 0x200C;
  constexpr char32_t kZanabazarInitial = 0x11A3A;  // no longer prepended
  if (character == kZeroWidthNonJoiner) return Kind::kNonJoiner;
  if (character == kZanabazarInitial) return Kind::kOther;
  if (is_in(character, kLinkers)) return Kind::kLinker;
  if (is_in(character, kConsonants)) return Kind::kConsonant;
  if (is_in(character, kExtend)) return Kind::kExtend;
  if (is_in(character, kSpacingMarks)) return Kind::kSpacingMark;
  if (is_in(character, kPrepended)) return Kind::kPrepend;
  if (is_in(character, kVowels)) return Kind::kHangulV;
  return kind_of_icu(character);
}

Kind kind_of(char32_t character) {
  return look_up<find_kind>(character);
}

bool is_control(Kind kind) {
  return kind == Kind::kControl || kind == Kind::kCarriageReturn || kind == Kind::kLineFeed;
}

bool extends(Kind kind) {
  return kind == Kind::kExtend || kind == Kind::kLinker || kind == Kind::kNonJoiner;
}

bool is_joined_hangul(Kind previous, Kind next) {
  switch (previous) {
    case Kind::kHangulL:
      return next == Kind::kHangulL || next == Kind::kHangulV || next == Kind::kHangulLv ||
             next == Kind::kHangulLvt;
    case Kind::kHangulLv:
    case Kind::kHangulV:
      return next == Kind::kHangulV || next == Kind::kHangulT;
    case Kind::kHangulLvt:
    case Kind::kHangulT:
      return next == Kind::kHangulT;
    default:
      return false;
  }
}

}  // namespace

/// Rules GB3 to GB13.
bool GraphemeBreaks::is_joined(Kind next) const {
  if (previous_ == Kind::kCarriageReturn && next == Kind::kLineFeed) return true;
  if (is_control(previous_) || is_control(next)) return false;
  if (extends(next) || next == Kind::kJoiner || next == Kind::kSpacingMark) return true;
  if (previous_ == Kind::kPrepend || is_joined_hangul(previous_, next)) return true;
  switch (next) {
    case Kind::kConsonant:
      return consonant_links_;
    case Kind::kPictographic:
      return pictograph_joins_;
    case Kind::kRegional:
      return odd_regionals_;
    default:
      return false;
  }
}

bool GraphemeBreaks::breaks_before(char32_t character) {
  const Kind next = kind_of(character);
  // Most characters are others after others.
  if (previous_ == Kind::kOther && next == Kind::kOther) return true;
  const bool joined = is_joined(next);
  previous_ = next;
  odd_regionals_ = next == Kind::kRegional && !odd_regionals_;
  pictograph_joins_ = pictograph_extends_ && next == Kind::kJoiner;
  pictograph_extends_ = next == Kind::kPictographic || (pictograph_extends_ && extends(next));
  const bool is_in_conjunct = next == Kind::kExtend || next == Kind::kLinker || next == Kind::kJoiner;
  consonant_links_ = consonant_extends_ && is_in_conjunct && (consonant_links_ || next == Kind::kLinker);
  consonant_extends_ = next == Kind::kConsonant || (consonant_extends_ && is_in_conjunct);
  return !joined;
}

}  // namespace toller
