// The hash that finds ranks whose parameters are no longer equal.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "device/ops.h"

namespace toller {
namespace {

template <class T>
std::uint64_t hash(const std::vector<T>& x) {
  std::uint64_t result = 1;
  make_cpu_ops<T>()->content_hash(x.data(), static_cast<std::int64_t>(x.size()), &result);
  return result;
}

template <class T>
class ContentHash : public testing::Test {};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(ContentHash, Elements);

TYPED_TEST(ContentHash, ChangesWithEveryBitAndPlace) {
  std::vector<TypeParam> x(300'000, TypeParam(0.5));
  const std::uint64_t before = hash(x);
  EXPECT_EQ(hash(x), before);
  for (const std::size_t place : {0u, 1u, 65'537u, 299'999u}) {
    for (const std::size_t byte : {std::size_t{0}, sizeof(TypeParam) - 1}) {
      auto changed = x;
      reinterpret_cast<unsigned char*>(&changed[place])[byte] ^= 1;
      EXPECT_NE(hash(changed), before) << place;
    }
  }
  auto negated = x;
  negated[7] = -negated[7];
  EXPECT_NE(hash(negated), before);
  x[3] = 1;
  auto swapped = x;
  std::swap(swapped[3], swapped[4]);
  EXPECT_NE(hash(swapped), hash(x));
  EXPECT_EQ(hash(std::vector<TypeParam>{}), 0u);
}

}  // namespace
}  // namespace toller
