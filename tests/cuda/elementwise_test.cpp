// Conversion bit by bit, scaling to the last bit of a float.
#include "cuda/elementwise.cuh"

#include <gtest/gtest.h>

#include <bit>

#include "cuda/device_array.h"

namespace toller {
namespace {

constexpr std::int64_t kSizes[] = {0, 1, 3, 4, 1023, 4096, 4099, 9001};

TEST(ConvertOnTheDevice, RoundsToNearestEven) {
  for (const std::int64_t n : kSizes) {
    for (const std::int64_t offset : {0, 1, 2}) {
      auto from = on_device<float>(random_numbers<float>(n + offset, 1));
      DeviceArray<bfloat16> to(n + offset);
      convert(n, from.data() + offset, to.data() + offset, nullptr);
      const std::vector<float> values = from.values();
      const std::vector<bfloat16> result = to.values();
      for (std::int64_t i = 0; i < offset; ++i) EXPECT_EQ(bits_of(result[i]), 0xFFFF);  // nothing before
      for (std::int64_t i = offset; i < n + offset; ++i) {
        const auto word = std::bit_cast<std::uint32_t>(values[i]);
        const std::uint32_t low = word & 0xFFFF, high = word >> 16;
        ASSERT_EQ(bits_of(result[i]), high + (low > 0x8000 || (low == 0x8000 && high % 2 == 1))) << values[i];
      }
    }
  }
}

TEST(ConvertOnTheDevice, KnowsTiesAndTheEnds) {
  const float infinity = std::numeric_limits<float>::infinity();
  DeviceArray<float> from(std::vector<float>{0x1.01p0f, 0x1.03p0f, 0x1.010002p0f, -0x1.01p0f, -0.0f, infinity,
                                             0x1.fffffep127f, 0x1p-149f});
  DeviceArray<bfloat16> to(8);
  convert(8, from.data(), to.data(), nullptr);
  EXPECT_EQ(to.doubles(), (std::vector<double>{1, 0x1.04p0, 0x1.02p0, -1, -0.0, infinity, infinity, 0}));
  DeviceArray<float> nan(std::vector<float>{std::nanf("")});
  convert(1, nan.data(), to.data(), nullptr);
  EXPECT_TRUE(std::isnan(to.doubles()[0]));
}

TEST(ScaleOnTheDevice, MultipliesWhatItIsGiven) {
  for (const std::int64_t n : kSizes) {
    for (const std::int64_t offset : {0, 1}) {
      auto x = on_device<float>(random_numbers<float>(n + offset + 1, 1));
      const std::vector<float> before = x.values();
      scale(n, 0.3f, x.data() + offset, nullptr);
      const std::vector<float> after = x.values();
      for (std::int64_t i = 0; i < n + offset + 1; ++i) {
        const bool inside = i >= offset && i < n + offset;
        ASSERT_EQ(after[i], inside ? before[i] * 0.3f : before[i]) << i << " of " << n;
      }
    }
  }
}

}  // namespace
}  // namespace toller
