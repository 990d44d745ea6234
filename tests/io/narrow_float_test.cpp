#include "io/narrow_float.h"

#include <gtest/gtest.h>

#include <limits>

namespace toller {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(NarrowFloat, KnownValues) {
  EXPECT_EQ(float_from_half(0x3c00), 1);
  EXPECT_EQ(float_from_half(0xc000), -2);
  EXPECT_EQ(float_from_half(0x3555), 0.333251953125F);
  EXPECT_EQ(float_from_half(0x7bff), 65504);
  EXPECT_EQ(float_from_half(0x0400), 0x1p-14F);
  EXPECT_EQ(float_from_half(0x0001), 0x1p-24F);
  EXPECT_EQ(float_from_half(0x7c00), kInfinity);
  EXPECT_TRUE(std::isnan(float_from_half(0x7e00)));
  EXPECT_TRUE(std::signbit(float_from_half(0x8000)));
  EXPECT_EQ(float_from_bfloat16(0x3f80), 1);
  EXPECT_EQ(float_from_bfloat16(0xc049), -3.140625F);
}

/// Every finite number of the type, what lies between it and the next, and on both sides of the middle.
template <class Widen, class Narrow>
void expect_nearest(Widen widen, Narrow narrow, std::uint16_t infinity) {
  for (std::uint16_t bits = 0; bits < infinity; ++bits) {
    const float value = widen(bits);
    ASSERT_EQ(narrow(value), bits);
    ASSERT_EQ(narrow(-value), bits | 0x8000);
    if (bits + 1 == infinity) break;
    const auto next = static_cast<std::uint16_t>(bits + 1);
    const auto middle =
        static_cast<float>((static_cast<double>(value) + static_cast<double>(widen(next))) / 2);
    ASSERT_EQ(narrow(middle), bits % 2 == 0 ? bits : next) << value;
    ASSERT_EQ(narrow(std::nextafter(middle, 0.0F)), bits) << value;
    ASSERT_EQ(narrow(std::nextafter(middle, kInfinity)), next) << value;
  }
}

TEST(NarrowFloat, RoundsToNearestTiesToEven) {
  expect_nearest(float_from_half, half_from_float, 0x7c00);
  expect_nearest(float_from_bfloat16, bfloat16_from_float, 0x7f80);
}

TEST(NarrowFloat, Overflow) {
  EXPECT_EQ(half_from_float(65519.996F), 0x7bff);
  EXPECT_EQ(half_from_float(65520), 0x7c00);
  EXPECT_EQ(half_from_float(-1e30F), 0xfc00);
  EXPECT_EQ(bfloat16_from_float(0x1.fefffep127F), 0x7f7f);
  EXPECT_EQ(bfloat16_from_float(0x1.ffp127F), 0x7f80);
}

}  // namespace
}  // namespace toller
