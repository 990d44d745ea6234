// Matrix fragments: the two products of cuda/fragment.cuh against plain sums, for every width of a shared
// tile.
#include "cuda/fragment.cuh"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "cuda/async_copy.cuh"
#include "cuda/device_array.h"

namespace toller {
namespace {

constexpr int kRows = 32;  // of b

/// One warp. transposed [16, kRows] = a bᵀ; product [16, kColumns] = transposed (rounded to bf16) · b; a
/// [16, kColumns], b [kRows, kColumns]; rows of b from `used` on are left out.
template <int kColumns>
__global__ void products_kernel(const bfloat16* a, const bfloat16* b, int used, float* transposed,
                                float* product) {
  const SharedTile<kColumns> left{dynamic_shared<bfloat16>()}, right{left.data + 16 * kColumns};
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  for (int i = lane; i < 16 * kColumns / 8; i += 32) {
    start_copy(left.chunk(i / (kColumns / 8), i % (kColumns / 8)), a + 8 * i, true);
  }
  for (int i = lane; i < kRows * kColumns / 8; i += 32) {
    start_copy(right.chunk(i / (kColumns / 8), i % (kColumns / 8)), b + 8 * i, true);
  }
  wait_for_copies();
  __syncwarp();
  FragmentC s[kRows / 8], c[kColumns / 8] = {};
  multiply_transposed(left, 0, right, used, s);
  multiply_add_rows(s, right, used, c);
  for (int e = 0; e < 4; ++e) {
    const int row = g + e / 2 * 8, column = 2 * t + e % 2;
    for (int n = 0; n < kRows / 8; ++n) transposed[row * kRows + 8 * n + column] = s[n].x[e];
    for (int n = 0; n < kColumns / 8; ++n) product[row * kColumns + 8 * n + column] = c[n].x[e];
  }
}

template <int kColumns>
void test_products(int used) {
  const std::vector<double> a = random_numbers<bfloat16>(16 * kColumns, 1);
  const std::vector<double> b = random_numbers<bfloat16>(kRows * kColumns, 2);
  DeviceArray<bfloat16> a_there = on_device<bfloat16>(a), b_there = on_device<bfloat16>(b);
  DeviceArray<float> transposed_there(16 * kRows), product_there(16 * kColumns);
  launch<products_kernel<kColumns>>(1, 32, (16 + kRows) * kColumns * sizeof(bfloat16), nullptr,
                                    a_there.data(), b_there.data(), used, transposed_there.data(),
                                    product_there.data());
  const std::vector<double> transposed = transposed_there.doubles(), product = product_there.doubles();
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < kRows; ++j) {
      double expected = 0;
      for (int k = 0; k < kColumns && j < (used + 15) / 16 * 16; ++k) {
        expected += a[i * kColumns + k] * b[j * kColumns + k];
      }
      EXPECT_NEAR(transposed[i * kRows + j], expected, 1e-5 * kColumns) << i << ", " << j;
    }
    const std::vector<double> left =
        rounded<bfloat16>({transposed.begin() + i * kRows, transposed.begin() + (i + 1) * kRows});
    for (int k = 0; k < kColumns; ++k) {
      double expected = 0;
      for (int j = 0; j < kRows; ++j) expected += left[j] * b[j * kColumns + k];
      EXPECT_NEAR(product[i * kColumns + k], expected, 1e-5 * kColumns) << i << ", " << k;
    }
  }
}

TEST(Fragment, ProductsEqualPlainSums) {
  test_products<32>(kRows);
  test_products<64>(kRows);
  test_products<128>(kRows);
}

TEST(Fragment, LeavesOutUnusedRows) {
  test_products<32>(16);
  test_products<64>(17);
  test_products<128>(1);
}

constexpr int kTileRows = 64;

/// places [kTileRows, kColumns / 8]: where the chunks of a tile lie, in chunks.
template <int kColumns>
__global__ void places_kernel(int* places) {
  const SharedTile<kColumns> tile{dynamic_shared<bfloat16>()};
  constexpr int kChunks = SharedTile<kColumns>::kChunks;
  const int row = static_cast<int>(threadIdx.x);
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    places[row * kChunks + chunk] = static_cast<int>(tile.chunk(row, chunk) - tile.data) / 8;
  }
}

/// The hardware reads eight 16-byte chunks, a fragment's column, in one go if they lie in different banks.
template <int kColumns>
void test_banks() {
  constexpr int kChunks = SharedTile<kColumns>::kChunks;
  DeviceArray<int> places(kTileRows * kChunks);
  launch<places_kernel<kColumns>>(1, kTileRows, kTileRows * kColumns * sizeof(bfloat16), nullptr,
                                  places.data());
  const std::vector<int> place = places.values();
  for (int row = 0; row < kTileRows; row += 8) {
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      unsigned banks = 0;
      for (int i = 0; i < 8; ++i) banks |= 1u << place[(row + i) * kChunks + chunk] % 8;
      EXPECT_EQ(banks, 0xFFu) << row << ", " << chunk;
    }
  }
}

TEST(Fragment, ColumnsOfATileLieInDifferentBanks) {
  test_banks<32>();
  test_banks<64>();
  test_banks<128>();
}

/// word = {pack(x[0], x[1]), pack(x[2], x[3])}, dot = the sum of the products of the two words' elements.
__global__ void pack_kernel(const float* x, std::uint32_t* word, float* dot) {
  word[0] = pack(x[0], x[1]);
  word[1] = pack(x[2], x[3]);
  *dot = dot_packed(word[0], word[1]);
}

struct Packed {
  std::vector<std::uint32_t> words;
  float dot;
};

Packed packed(const std::vector<float>& x) {
  DeviceArray<float> numbers(x), dot(1);
  DeviceArray<std::uint32_t> words(2);
  launch<pack_kernel>(1, 1, 0, nullptr, static_cast<const float*>(numbers.data()), words.data(), dot.data());
  return {words.values(), dot.values()[0]};
}

TEST(Fragment, PackRoundsToNearestEvenLowFirst) {
  // Ties: 1 + 2⁻⁸ → 1, 1 + 3 · 2⁻⁸ → 1 + 2⁻⁶.
  EXPECT_EQ(packed({1, -2, 1.00390625f, 1.01171875f}).words,
            (std::vector<std::uint32_t>{0xC0003F80u, 0x3F823F80u}));
  EXPECT_EQ(packed({1.5f, 2, 4, -0.5f}).dot, 5.0f);
}

}  // namespace
}  // namespace toller
