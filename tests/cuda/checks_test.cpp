// Counts of numbers that are not finite, and the hash of an array, against the CPU.
#include "cuda/checks.cuh"

#include <gtest/gtest.h>

#include "cuda/device_array.h"
#include "device/ops.h"

namespace toller {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<std::int64_t> counts(const std::vector<double>& x, double total) {
  const std::vector<std::int64_t> bounds{0, 1, 1, 700, 5000};
  DeviceArray<std::int64_t> device_bounds(bounds), count(std::vector<std::int64_t>(4, -1));
  DeviceArray<double> device_total(std::vector{total});
  auto device_x = on_device<float>(x);
  count_not_finite(device_total.data(), device_x.data(), device_bounds.data(), 4, count.data(), nullptr);
  return count.values();
}

TEST(CountNotFiniteOnTheDevice, CountsByPart) {
  auto x = random_numbers<float>(5000, 1);
  x[1] = kNaN;
  for (const std::size_t i : {699u, 700u, 1000u, 4999u}) x[i] = i % 2 == 0 ? kInfinity : -kInfinity;
  in_both_thread_orders([&] {
    for (const double total : {kNaN, kInfinity}) {
      EXPECT_EQ(counts(x, total), (std::vector<std::int64_t>{0, 0, 2, 3}));
    }
  });
}

TEST(CountNotFiniteOnTheDevice, ChangesNothingWhereTheTotalIsFinite) {
  EXPECT_EQ(counts(std::vector<double>(5000, kNaN), 1e300), std::vector<std::int64_t>(4, -1));
}

TEST(ContentHashOnTheDevice, IsTheCpus) {
  in_both_thread_orders([] {
    for (const std::int64_t n : {0, 1, 255, 8193, 40'001}) {
      const auto x = to_storage<float>(random_numbers<float>(n, 2));
      DeviceArray<float> device_x(x);
      DeviceArray<std::uint64_t> result(std::vector<std::uint64_t>{0});
      add_content_hash(n, device_x.data(), result.data(), nullptr);
      std::uint64_t expected = 0;
      make_cpu_ops<float>()->content_hash(x.data(), n, &expected);
      EXPECT_EQ(result.values()[0], expected) << n;
    }
  });
}

}  // namespace
}  // namespace toller
