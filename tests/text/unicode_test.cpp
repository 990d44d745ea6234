#include "text/unicode.h"

#include <gtest/gtest.h>

namespace toller {
namespace {

TEST(IsBlank, SeesWhatATokenizerSees) {
  EXPECT_TRUE(is_blank(""));
  EXPECT_TRUE(is_blank(" \t\r\n"));
  EXPECT_TRUE(is_blank("\u00A0\u3000\u200B\uFEFF\u00AD"));  // blanks, zero-width space, mark, soft hyphen
  EXPECT_TRUE(is_blank("\u2581\uFFFD"));
  EXPECT_TRUE(is_blank("\xFF"));
  EXPECT_FALSE(is_blank(" . "));
  EXPECT_FALSE(is_blank("\u3000\u4E00"));
}

TEST(FindInvalidUtf8, GivesTheFirstBadByte) {
  EXPECT_EQ(find_invalid_utf8(""), -1);
  EXPECT_EQ(find_invalid_utf8("plain"), -1);
  EXPECT_EQ(find_invalid_utf8("\u00E9\u4E00\U0001F600"), -1);
  EXPECT_EQ(find_invalid_utf8("ab\xE9 c"), 2);
  EXPECT_EQ(find_invalid_utf8("\u4E00\xED\xA0\x80"), 3);  // a lone surrogate
  EXPECT_EQ(find_invalid_utf8("\xC0\xAF"), 0);            // longer than needed
  EXPECT_EQ(find_invalid_utf8("ab\xE2\x82"), 2);          // cut short
}

}  // namespace
}  // namespace toller
