// Deposits, convolutions and slopes on the device against the CPU operations in double, on the
// numbers that the kernels read.
#include "cuda/mann_whitney.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cuda/device_array.h"
#include "cuda/random_scores.h"
#include "device/score_ops.h"

namespace toller {
namespace {

constexpr int kFractionBits = 30;
const double kInfinity = std::numeric_limits<double>::infinity();

ScoreGrid cpu_grid(double largest, double temperature, std::int64_t capacity) {
  const double norms[2] = {largest, 1}, inverse = 1 / temperature;
  ScoreGrid grid{};
  make_cpu_score_ops<double>()->lay_grid(norms, &inverse, capacity, &grid);
  return grid;
}

std::vector<double> cpu_deposits(const ScoreGrid& grid, const std::vector<double>& scores) {
  std::vector<std::int64_t> weight(static_cast<std::size_t>(grid.points), 0);
  std::vector<double> result(weight.size());
  const auto ops = make_cpu_score_ops<double>();
  ops->deposit(static_cast<std::int64_t>(scores.size()), scores.data(), &grid, 40, weight.data());
  ops->read_deposits(grid.points, weight.data(), 40, result.data());
  return result;
}

TEST(MannWhitneyOnTheDevice, FindsTheLargestNorm) {
  for (const std::int64_t rows : {0, 1, 7, 8, 21}) {
    for (const std::int64_t columns : {1, 31, 100}) {
      std::vector<double> x = random_numbers<bfloat16>(rows * columns, 3);
      double expected = 0;
      for (std::int64_t i = 0; i < rows; ++i) {
        double squares = 0;
        for (std::int64_t j = 0; j < columns; ++j) squares += x[i * columns + j] * x[i * columns + j];
        expected = std::max(expected, std::sqrt(squares));
      }
      DeviceArray<double> result(1);
      largest_norm<bfloat16>(rows, columns, on_device<bfloat16>(x).data(), result.data(), nullptr);
      EXPECT_NEAR(result.values()[0], expected, 1e-14 * expected);
      largest_norm<float>(rows, columns, on_device<float>(x).data(), result.data(), nullptr);
      EXPECT_NEAR(result.values()[0], expected, 1e-14 * expected);
      if (rows == 0) continue;
      x[x.size() / 2] = std::nan("");
      largest_norm<float>(rows, columns, on_device<float>(x).data(), result.data(), nullptr);
      EXPECT_EQ(result.values()[0], kInfinity);
    }
  }
}

TEST(MannWhitneyOnTheDevice, LaysTheGridOfTheCpu) {
  const double nan = std::nan("");
  for (const double norm : {0.0, 0.4, 1.0, 1.003, 55.0, 1e30, kInfinity}) {
    for (const double temperature : {0.001, 0.005, 0.0625, 0.07, 1.0, 100.0, nan}) {
      const std::vector<double> norms = {norm, 1.25};
      const double inverse = 1 / temperature;
      ScoreGrid expected{};
      make_cpu_score_ops<double>()->lay_grid(norms.data(), &inverse, 40000, &expected);
      DeviceArray<ScoreGrid> grid(1);
      lay_grid(DeviceArray<double>(norms).data(), DeviceArray<double>(std::vector<double>{inverse}).data(),
               40000, grid.data(), nullptr);
      const ScoreGrid result = grid.values()[0];
      EXPECT_EQ(result.points, expected.points);
      EXPECT_EQ(result.origin, expected.origin);
      EXPECT_EQ(std::isnan(result.inverse_step), std::isnan(expected.inverse_step));
      if (!std::isnan(expected.inverse_step)) {
        EXPECT_EQ(result.inverse_step, expected.inverse_step);
        EXPECT_GE(expected.inverse_step * temperature, 16);
        EXPECT_LT(expected.inverse_step * temperature, 32);
      }
    }
  }
}

/// From grids that lie in shared memory to one that is three times as large.
TEST(MannWhitneyOnTheDevice, DepositsLikeTheCpu) {
  for (const double temperature : {1.0, 0.07, 0.005, 0.002}) {
    for (const std::int64_t n : {1, 500, 40000}) {
      SCOPED_TRACE(testing::Message() << n << " scores, temperature " << temperature);
      const ScoreGrid grid = cpu_grid(1, temperature, 40000);
      const std::vector<double> scores = random_scores(n, 1), expected = cpu_deposits(grid, scores);
      DeviceArray<ScoreGrid> device_grid(std::vector<ScoreGrid>{grid});
      auto device_scores = on_device<float>(scores);
      std::vector<std::int64_t> first;
      in_both_thread_orders([&] {
        DeviceArray<std::int64_t> weight(std::vector<std::int64_t>(expected.size(), 0));
        deposit(n, device_scores.data(), device_grid.data(), kFractionBits, weight.data(), nullptr);
        if (first.empty()) first = weight.values();
        EXPECT_EQ(weight.values(), first);
        DeviceArray<double> read(grid.points);
        read_deposits(grid.points, weight.data(), kFractionBits, read.data(), nullptr);
        const std::vector<double> result = read.values();
        for (std::int64_t j = 0; j < grid.points; ++j) {
          // What is there came from several scores, each wrong by float's rounding.
          ASSERT_NEAR(result[j], expected[j], 1e-6 + 1e-6 * std::abs(expected[j])) << j;
        }
      });
    }
  }
}

TEST(MannWhitneyOnTheDevice, CarriesFromTheLowerHalfOfASum) {
  const ScoreGrid grid = cpu_grid(1, 0.07, 4000);
  const std::vector<double> scores(9000, 0.0);  // each adds 1 to one point
  for (const int bits : {30, 40, 49}) {
    DeviceArray<std::int64_t> weight(std::vector<std::int64_t>(static_cast<std::size_t>(grid.points), 5));
    deposit(9000, on_device<float>(scores).data(),
            DeviceArray<ScoreGrid>(std::vector<ScoreGrid>{grid}).data(), bits, weight.data(), nullptr);
    const std::vector<std::int64_t> result = weight.values();
    for (std::int64_t j = 0; j < grid.points; ++j) {
      EXPECT_EQ(result[j], 5 + (j == -grid.origin ? std::int64_t{9000} << bits : 0)) << j;
    }
  }
}

struct PairResult {
  std::vector<double> positive_slope, negative_slope;
  double value, log_temperature;
};

PairResult pairs_on_cpu(const ScoreGrid& grid, const std::vector<double>& positive,
                        const std::vector<double>& negative, const std::vector<double>& count) {
  PairResult result{std::vector<double>(positive.size()), std::vector<double>(positive.size()), 0, 0};
  make_cpu_score_ops<double>()->pair_on_grid(
      {grid.points, positive.data(), negative.data(), count.data(), result.positive_slope.data(),
       result.negative_slope.data(), &result.value, &result.log_temperature},
      &grid);
  return result;
}

PairResult pairs_on_device(const ScoreGrid& grid, const std::vector<double>& positive,
                           const std::vector<double>& negative, const std::vector<double>& count) {
  const auto capacity = static_cast<std::int64_t>(positive.size());
  DeviceArray<ScoreGrid> device_grid(std::vector<ScoreGrid>{grid});
  DeviceArray<double> device_positive(positive), device_negative(negative), device_count(count);
  DeviceArray<double> value(1), log_temperature(1), workspace(pair_on_grid_workspace(capacity));
  DeviceArray<float> positive_slope(capacity), negative_slope(capacity);
  pair_on_grid({capacity, device_positive.data(), device_negative.data(), device_count.data(),
                positive_slope.data(), negative_slope.data(), value.data(), log_temperature.data()},
               device_grid.data(), workspace.data(), nullptr);
  return {positive_slope.doubles(), negative_slope.doubles(), value.values()[0], log_temperature.values()[0]};
}

void compare_pairs(double temperature, double shift) {
  SCOPED_TRACE(testing::Message() << "temperature " << temperature << ", shift " << shift);
  const ScoreGrid grid = cpu_grid(1, temperature, 40000);
  std::vector<double> positive_scores = random_scores(40, 2), negative_scores = random_scores(700, 3);
  for (double& score : positive_scores) score = std::min(1.0, score * 0.4 + shift);
  for (double& score : negative_scores) score = std::min(1.0, score * 0.4 - shift);
  const std::vector<double> count = {40, 700};
  std::vector<double> positive = cpu_deposits(grid, positive_scores);
  std::vector<double> negative = cpu_deposits(grid, negative_scores);
  const PairResult expected = pairs_on_cpu(grid, positive, negative, count);
  positive.resize(static_cast<std::size_t>(grid.points) + 300, std::nan(""));  // more capacity than is used
  negative.resize(positive.size(), std::nan(""));
  const PairResult result = pairs_on_device(grid, positive, negative, count);
  EXPECT_NEAR(result.value, expected.value, 1e-12 * expected.value);
  EXPECT_NEAR(result.log_temperature, expected.log_temperature, 1e-12 * std::abs(expected.log_temperature));
  for (std::int64_t j = 0; j < grid.points; ++j) {
    ASSERT_NEAR(result.positive_slope[j], expected.positive_slope[j],
                1e-7 * std::abs(expected.positive_slope[j]) + 1e-37);
    ASSERT_NEAR(result.negative_slope[j], expected.negative_slope[j],
                1e-7 * std::abs(expected.negative_slope[j]) + 1e-37);
  }
}

/// From one chunk of points to many; positives above and below the negatives.
TEST(MannWhitneyOnTheDevice, PairsUpLikeTheCpu) {
  for (const double temperature : {1.0, 0.07, 0.02, 0.005}) {
    for (const double shift : {0.0, 0.5, -0.5}) compare_pairs(temperature, shift);
  }
}

TEST(MannWhitneyOnTheDevice, GivesZeroWithoutPairsAndNaNWithoutAGrid) {
  ScoreGrid grid = cpu_grid(1, 0.1, 4000);
  const std::vector<double> nothing(static_cast<std::size_t>(grid.points), 0.0);
  const std::vector<double> scores = {0.5, 0.25};
  const PairResult zero = pairs_on_device(grid, cpu_deposits(grid, scores), nothing, {2, 0});
  EXPECT_EQ(zero.value, 0);
  EXPECT_EQ(zero.log_temperature, 0);
  EXPECT_EQ(zero.positive_slope, nothing);
  EXPECT_EQ(zero.negative_slope, nothing);
  grid = cpu_grid(1, 0.1, 20);
  const PairResult none = pairs_on_device(grid, nothing, nothing, {2, 2});
  EXPECT_TRUE(std::isnan(none.value));
  EXPECT_TRUE(std::isnan(none.log_temperature));
  DeviceArray<ScoreGrid> device_grid(std::vector<ScoreGrid>{grid});
  DeviceArray<std::int64_t> weight(std::vector<std::int64_t>(20, 0));
  deposit(2, on_device<float>(scores).data(), device_grid.data(), 30, weight.data(), nullptr);
  EXPECT_EQ(weight.values(), std::vector<std::int64_t>(20, 0));
  DeviceArray<bfloat16> gradient(2);
  read_slopes<bfloat16>(2, on_device<float>(scores).data(), device_grid.data(),
                        on_device<float>(std::vector<double>(20, 1.0)).data(), gradient.data(), nullptr);
  for (const double x : gradient.doubles()) EXPECT_TRUE(std::isnan(x));
}

template <class T>
class MannWhitneyGradients : public testing::Test {};
TYPED_TEST_SUITE(MannWhitneyGradients, StorageTypes);

TYPED_TEST(MannWhitneyGradients, AreReadOffTheSlopes) {
  using T = TypeParam;
  for (const std::int64_t n : {1, 255, 1024, 3001}) {
    const ScoreGrid grid = cpu_grid(1, 0.05, 4000);
    const std::vector<double> scores = random_scores(n, 5), slope = random_numbers<float>(grid.points, 6);
    std::vector<double> expected(scores.size());
    make_cpu_score_ops<double>()->slope_gradient(n, scores.data(), &grid, slope.data(), expected.data());
    DeviceArray<ScoreGrid> device_grid(std::vector<ScoreGrid>{grid});
    auto device_slope = on_device<float>(slope);
    auto device_scores = on_device<float>(scores);
    DeviceArray<T> gradient(n);
    read_slopes<T>(n, device_scores.data(), device_grid.data(), device_slope.data(), gradient.data(),
                   nullptr);
    expect_near<T>(gradient.doubles(), expected, "gradient", 1);
    for (std::int64_t i = 3; i < n; i += 11) EXPECT_EQ(gradient.doubles()[i], 0);
    DeviceArray<double> doubles(n);
    read_slopes<double>(n, device_scores.data(), device_grid.data(), device_slope.data(), doubles.data(),
                        nullptr);
    expect_near<float>(doubles.values(), expected, "slopes", 1);
    read_slopes<float>(n, device_scores.data(), device_grid.data(), device_slope.data(), device_scores.data(),
                       nullptr);
    expect_near<float>(device_scores.doubles(), expected, "gradient in place", 1);
  }
}

}  // namespace
}  // namespace toller
