// Matrices in double against plain loops. Only the order of sums differs: 1e-13 of the size of the terms.
#include "cuda/double_matrix.cuh"

#include <gtest/gtest.h>

#include <cmath>

#include "cuda/device_array.h"

namespace toller {
namespace {

constexpr double kDoubleError = 1e-13;

std::vector<double> random_doubles(std::int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  std::vector<double> x(static_cast<std::size_t>(n));
  for (double& value : x) value = normal(generator);
  return x;
}

void expect_doubles(const std::vector<double>& result, const std::vector<double>& reference, double terms) {
  ASSERT_EQ(result.size(), reference.size());
  for (std::size_t i = 0; i < result.size(); ++i) {
    ASSERT_NEAR(result[i], reference[i], kDoubleError * terms) << "number " << i;
  }
}

TEST(DoubleMatrixOnTheDevice, Multiplies) {
  in_both_thread_orders([] {
    for (const auto& [rows, n] :
         {std::pair<std::int64_t, std::int64_t>{1, 1}, {64, 64}, {65, 130}, {3, 70}, {130, 47}, {0, 7}}) {
      SCOPED_TRACE(testing::Message() << rows << " " << n);
      const std::vector<double> a = random_doubles(rows * n, 1), b = random_doubles(n * n, 2);
      std::vector<double> product(a.size(), 0.0), gram(b.size(), 0.0);
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < n; ++j) {
          for (std::int64_t p = 0; p < n; ++p) {
            product[i * n + j] += a[i * n + p] * b[p * n + j];
            gram[p * n + j] += -1.5 * a[i * n + p] * a[i * n + j];
          }
        }
      }
      DeviceArray<double> device_a(a), device_b(b), c(rows * n), square(n * n);
      multiply_doubles(rows, n, device_a.data(), device_b.data(), c.data(), nullptr);
      expect_doubles(c.values(), product, 100);
      gram_doubles(rows, n, -1.5, device_a.data(), square.data(), nullptr);
      const std::vector<double> result = square.values();
      expect_doubles(result, gram, 100);
      for (std::int64_t i = 0; i < n * n; ++i)
        ASSERT_EQ(result[i], result[i % n * n + i / n]) << "not symmetric";
    }
  });
}

TEST(DoubleMatrixOnTheDevice, IsCenteredAndAddedUp) {
  in_both_thread_orders([] {
    for (const auto& [rows, n] : {std::pair<std::int64_t, std::int64_t>{1, 1}, {5, 600}, {70, 33}, {0, 9}}) {
      const std::vector<double> start = random_doubles(rows * n, 3), row = random_doubles(n, 4);
      std::vector<double> centered = start, sums(static_cast<std::size_t>(n), 0.0), moved = start;
      double total = 0, squares = 0;
      for (std::int64_t i = 0; i < rows; ++i) {
        double mean = 0;
        for (std::int64_t j = 0; j < n; ++j) mean += start[i * n + j] / static_cast<double>(n);
        for (std::int64_t j = 0; j < n; ++j) {
          centered[i * n + j] -= mean;
          sums[j] += start[i * n + j];
          moved[i * n + j] += -0.25 * row[j];
          total += start[i * n + j];
          squares += start[i * n + j] * start[i * n + j];
        }
      }
      DeviceArray<double> x(start), y(start), device_row(row), device_sums(n), result(2);
      DeviceArray<double> workspace(inner_product_workspace(rows * n));
      double_column_sums(rows, n, x.data(), device_sums.data(), nullptr);
      expect_doubles(device_sums.values(), sums, 10);
      inner_product(rows * n, x.data(), x.data(), result.data(), workspace.data(), nullptr);
      inner_product(rows * n, x.data(), nullptr, result.data() + 1, workspace.data(), nullptr);
      expect_doubles(result.values(), {squares, total}, 10 + squares);
      add_to_rows(rows, n, -0.25, device_row.data(), y.data(), nullptr);
      expect_doubles(y.values(), moved, 1);
      center_rows(rows, n, x.data(), nullptr);
      expect_doubles(x.values(), centered, 10);
    }
  });
}

TEST(DoubleMatrixOnTheDevice, IsDividedByItsNorm) {
  const std::vector<double> start = random_doubles(700, 5);
  DeviceArray<double> x(start), square(std::vector<double>{16, 0, std::nan("")});
  divide_by_norm(700, square.data(), x.data(), nullptr);
  for (std::size_t i = 0; i < start.size(); ++i) ASSERT_EQ(x.values()[i], start[i] / 4);
  divide_by_norm(700, square.data() + 1, x.data(), nullptr);
  EXPECT_EQ(x.values(), std::vector<double>(700, 0.0));
  divide_by_norm(700, square.data() + 2, x.data(), nullptr);
  for (const double value : x.values()) ASSERT_TRUE(std::isnan(value));
}

TEST(DoubleMatrixOnTheDevice, GetsADiagonal) {
  const std::vector<double> start = random_doubles(300 * 300, 6);
  DeviceArray<double> x(start);
  add_to_diagonal(300, 2.5, x.data(), nullptr);
  const std::vector<double> result = x.values();
  for (std::size_t i = 0; i < start.size(); ++i) ASSERT_EQ(result[i], start[i] + (i % 301 == 0 ? 2.5 : 0));
}

}  // namespace
}  // namespace toller
