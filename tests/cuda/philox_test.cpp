// Dropout scales: the CPU's, bit for bit.
#include "cuda/philox.cuh"

#include <gtest/gtest.h>

#include "cuda/device_array.h"
#include "device/cpu/dropout.h"

namespace toller {
namespace {

__global__ void scales_kernel(DropoutMask mask, std::int64_t row, int width, float* by_element,
                              float* by_block) {
  const std::uint64_t first = first_dropout_block(row, width);
  for (int column = static_cast<int>(threadIdx.x); column < width; column += static_cast<int>(blockDim.x)) {
    by_element[column] = dropout_scale(mask, first, column);
    if (column % 64 >= 16) continue;
    float scale[4];
    dropout_scales(mask, first + static_cast<std::uint64_t>(column / 64 * 16 + column % 16), scale);
    for (int word = 0; word < 4; ++word) {
      if (column + 16 * word < width) by_block[column + 16 * word] = scale[word];
    }
  }
}

TEST(DropoutOnTheDevice, HasTheBitsOfTheCpu) {
  for (const double rate : {0.0, 0.1, 0.5, 0.999}) {
    for (const std::int64_t row : {0LL, 1LL, 12'345'678'901LL}) {
      for (const int width : {1, 63, 64, 65, 200, 768}) {
        const Dropout dropout{rate, 0xFEDCBA9876543210ull, 41, 7};
        std::vector<float> expected(static_cast<std::size_t>(width));
        dropout_scales(dropout, row, width, width, expected.data());
        DeviceArray<float> by_element(width), by_block(width);
        launch<scales_kernel>(1, 32, 0, nullptr, make_dropout_mask(dropout), row, width, by_element.data(),
                              by_block.data());
        EXPECT_EQ(by_element.values(), expected);
        EXPECT_EQ(by_block.values(), expected);
      }
    }
  }
}

TEST(DropoutOnTheDevice, IsActiveOnlyWhereSomethingIsDropped) {
  EXPECT_FALSE(make_dropout_mask({}).active);
  EXPECT_TRUE(make_dropout_mask({.rate = 0.1}).active);
}

}  // namespace
}  // namespace toller
