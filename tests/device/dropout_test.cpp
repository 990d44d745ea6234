// Dropout masks: the stated Philox blocks, word by word, and independence of how a row is cut.
#include "device/cpu/dropout.h"

#include <gtest/gtest.h>

#include <vector>

namespace toller {
namespace {

TEST(DropoutMask, FollowsTheStatedBlocks) {
  const Dropout dropout{0.3, 0x123456789ABCDEFull, 17, 5};
  constexpr std::int64_t kRow = 1'000'003, kWidth = 200, kCount = 170;
  std::vector<float> scale(kCount);
  dropout_scales(dropout, kRow, kWidth, kCount, scale.data());
  int dropped = 0;
  for (std::int64_t column = 0; column < kCount; ++column) {
    const std::uint64_t block =
        (kRow * 4 + column / 64) * 16 + column % 16;  // four groups of 64 hold 200 columns
    const PhiloxBlock bits =
        philox4x32({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), 17,
                    static_cast<std::uint32_t>(RandomStream::kDropout) | 5u << 8},
                   0x89ABCDEFu, 0x01234567u);
    const bool drop = uniform_open(bits[column % 64 / 16]) < 0.3;
    EXPECT_EQ(scale[column], drop ? 0.f : static_cast<float>(1 / 0.7)) << column;
    dropped += drop;
  }
  EXPECT_GT(dropped, 30);
}

TEST(DropoutMask, APrefixIsAPrefix) {
  const Dropout dropout{0.5, 3, 1, 1};
  std::vector<double> whole(300), part(77);
  dropout_scales(dropout, 9, 300, 300, whole.data());
  dropout_scales(dropout, 9, 300, 77, part.data());
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin()));
}

TEST(Philox, KnownAnswers) {
  // Random123's kat_vectors for philox4x32-10.
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, 0, 0), (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, 0xffffffff, 0xffffffff),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0),
            (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

}  // namespace
}  // namespace toller
