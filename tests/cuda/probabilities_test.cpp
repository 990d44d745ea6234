// Tiles of probabilities against the CPU's operations in double on the same numbers.
#include "cuda/probabilities.cuh"

#include <gtest/gtest.h>

#include <cmath>

#include "cuda/device_array.h"
#include "device/cpu/probabilities.h"

namespace toller {
namespace {

constexpr double kDoubleError = 1e-13;

/// Scores of some rows, of which a tile is looked at; the last row takes no part.
constexpr std::int64_t kRows = 41, kColumns = 330, kLists = 90;
const ScoreTile kTile{3, 37, 30, 295};

/// Lists of 0 to 6 columns, with gaps; weights of every size.
struct Lists {
  std::vector<double> begin, end, number = std::vector<double>(kColumns, 0.0),
                                  weight = std::vector<double>(kColumns, 0.0);
  Lists() {
    std::mt19937 generator(7);
    for (std::int64_t j = 0, column = 0; j < kLists; ++j) {
      const std::int64_t size = (j * 5) % 7;
      column += j % 10 == 3 ? 4 : 0;
      begin.push_back(static_cast<double>(column));
      for (std::int64_t k = 0; k < size; ++k, ++column) {
        number[column] = static_cast<double>(j + 1);
        weight[column] = static_cast<double>(generator() % 1000) / 500 - 1;
      }
      end.push_back(static_cast<double>(column));
    }
  }
};

struct DeviceLists {
  DeviceArray<double> begin, end, number, weight;
  explicit DeviceLists(const Lists& lists)
      : begin(lists.begin), end(lists.end), number(lists.number), weight(lists.weight) {}
  ColumnLists get() { return {kLists, begin.data(), end.data(), number.data(), weight.data()}; }
};

ColumnLists on_host(const Lists& lists) {
  return {kLists, lists.begin.data(), lists.end.data(), lists.number.data(), lists.weight.data()};
}

std::vector<double> random_shares(std::int64_t n, unsigned seed) {
  std::vector<double> x = random_numbers<float>(n, seed);
  for (double& value : x) value = value * value / 100;
  return rounded<float>(x);
}

TEST(ProbabilitiesOnTheDevice, AreThoseOfTheCpu) {
  in_both_thread_orders([] {
    for (const double inverse : {1.0, 20.0, 200.0}) {
      std::vector<double> scores = random_numbers<float>(kRows * kColumns, 1);
      std::vector<double> max(kRows), sum(kRows);
      for (std::int64_t i = 0; i < kRows; ++i) {
        max[i] = rounded<float>({2.0 + 0.01 * static_cast<double>(i)})[0];
        sum[i] = 1.5 + static_cast<double>(i);
        scores[i * kColumns + i] = -INFINITY;
      }
      max[kRows - 1] = -INFINITY;
      sum[kRows - 1] = 0;
      for (std::int64_t m = 0; m < kColumns; ++m) scores[(kRows - 1) * kColumns + m] = -INFINITY;
      for (double& score : scores) score = std::min(score, 2.0);
      auto device = on_device<float>(scores), device_max = on_device<float>(max);
      DeviceArray<double> device_sum(sum), factor(std::vector<double>{inverse});
      probabilities(kRows, kColumns, factor.data(), device_max.data(), device_sum.data(), device.data(),
                    nullptr);
      cpu_probabilities(kRows, kColumns, inverse, max.data(), sum.data(), scores.data());
      const std::vector<double> result = device.doubles();
      for (std::size_t i = 0; i < result.size(); ++i) {
        // An exponent in float is wrong by 4 · 2⁻²⁴ of itself.
        const double bound = kFloatError + 4 * 0x1p-24 * std::abs(std::log(scores[i] + 1e-38));
        ASSERT_NEAR(result[i], scores[i], bound * scores[i] + 1e-37) << i;
      }
    }
  });
}

TEST(ProbabilitiesOnTheDevice, HaveTheMomentsOfTheCpu) {
  in_both_thread_orders([] {
    for (const auto& [rows, columns] :
         {std::pair<std::int64_t, std::int64_t>{1, 1}, {41, 330}, {300, 35}, {2, 9000}, {0, 5}}) {
      const std::vector<double> x = random_shares(rows * columns, 2);
      std::vector<double> squares(rows, 0.5), sums(columns, -0.25);
      DeviceArray<double> device_squares(squares), device_sums(sums);
      const float center = 0.004f;
      cpu_probability_moments(rows, columns, x.data(), static_cast<double>(center), squares.data(),
                              sums.data());
      add_probability_moments(rows, columns, on_device<float>(x).data(), center, device_squares.data(),
                              device_sums.data(), nullptr);
      if (rows == 0) continue;
      expect_near<float>(device_squares.values(), squares, "squares");
      expect_near<float>(device_sums.values(), sums, "sums");
    }
  });
}

TEST(ProbabilitiesOnTheDevice, AreAddedUpByList) {
  const Lists lists;
  DeviceLists device_lists(lists);
  const std::vector<double> x = random_shares(kTile.rows * kTile.columns, 3);
  std::vector<double> sums = random_numbers<float>(kRows * kLists, 4);
  DeviceArray<double> device_sums(sums);
  cpu_list_sums(kTile, x.data(), on_host(lists), sums.data());
  add_list_sums(kTile, on_device<float>(x).data(), device_lists.get(), device_sums.data(), nullptr);
  const std::vector<double> result = device_sums.values();
  for (std::size_t i = 0; i < sums.size(); ++i) ASSERT_NEAR(result[i], sums[i], kDoubleError) << i;
}

template <class T>
class ProbabilitySlopesOnTheDevice : public testing::Test {};
TYPED_TEST_SUITE(ProbabilitySlopesOnTheDevice, StorageTypes);

TYPED_TEST(ProbabilitySlopesOnTheDevice, AreThoseOfTheCpu) {
  const Lists lists;
  DeviceLists device_lists(lists);
  const std::vector<double> x = random_shares(kTile.rows * kTile.columns, 5);
  const std::vector<double> column = random_numbers<float>(kColumns, 6);
  const std::vector<double> of_list = random_numbers<float>(kRows * kLists, 7);
  in_both_thread_orders([&] {
    std::vector<double> mean(kRows, 0.125);
    DeviceArray<double> device_mean(mean), device_column(column), device_of_list(of_list);
    DeviceArray<double> inverse(std::vector<double>{20.0});
    const ProbabilitySlopes slopes{on_host(lists), column.data(), of_list.data(), 0.3};
    const ProbabilitySlopes device_slopes{device_lists.get(), device_column.data(), device_of_list.data(),
                                          0.3};
    auto device_x = on_device<float>(x);
    cpu_mean_slopes(kTile, x.data(), slopes, mean.data());
    add_mean_slopes(kTile, device_x.data(), device_slopes, device_mean.data(), nullptr);
    expect_near<float>(device_mean.values(), mean, "mean");

    std::vector<double> gradient(x.size());
    DeviceArray<TypeParam> device_gradient(kTile.rows * kTile.columns);
    const std::vector<double> means = device_mean.values();
    cpu_probability_gradient(kTile, x.data(), slopes, means.data(), 20.0, gradient.data());
    probability_gradient<TypeParam>(kTile, device_x.data(), device_slopes, device_mean.data(), inverse.data(),
                                    device_gradient.data(), nullptr);
    expect_near<TypeParam>(device_gradient.doubles(), gradient, "gradient");
    if constexpr (std::is_same_v<TypeParam, float>) {  // in place
      probability_gradient<float>(kTile, device_x.data(), device_slopes, device_mean.data(), inverse.data(),
                                  device_x.data(), nullptr);
      EXPECT_EQ(device_x.values(), device_gradient.values());
    }
  });
}

TEST(ProbabilitiesOnTheDevice, HaveTheDistanceOfTheCpu) {
  for (const std::int64_t samples : {1, 40}) {
    const std::vector<double> sums = random_numbers<float>(kColumns, 8);
    const std::vector<double> weight = random_numbers<float>(kColumns, 9);
    const std::vector<double> totals{3.5, 1.25}, squares{900}, overlap{4.5};
    std::vector<double> slope(kColumns);
    double value = 0;
    cpu_gaussian_distance(
        {samples, kColumns, sums.data(), squares.data(), weight.data(), totals.data(), overlap.data()},
        slope.data(), &value);
    DeviceArray<double> device_sums(sums), device_weight(weight), device_totals(totals),
        device_squares(squares), device_overlap(overlap), device_slope(kColumns), device_value(1);
    gaussian_distance({samples, kColumns, device_sums.data(), device_squares.data(), device_weight.data(),
                       device_totals.data(), device_overlap.data()},
                      device_slope.data(), device_value.data(), nullptr);
    EXPECT_NEAR(device_value.values()[0], value, 1e-12 * std::abs(value));
    const std::vector<double> result = device_slope.values();
    for (std::size_t m = 0; m < slope.size(); ++m) ASSERT_NEAR(result[m], slope[m], 1e-14);
  }
}

}  // namespace
}  // namespace toller
