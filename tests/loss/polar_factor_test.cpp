// Polar factors against the singular vectors of the NumPy script of tests/reference, and over ranks.
#include "loss/polar_factor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "comm/host_tensor_communicator.h"
#include "comm/thread_communicator.h"
#include "device/ops.h"
#include "loss/loss_fixture.h"

namespace toller {
namespace {

/// The polar factor of a matrix [n, n] whose rows are divided among ranks as in `counts`.
std::vector<double> polar_factor(const std::vector<double>& matrix, const std::vector<std::int64_t>& counts,
                                 double tolerance) {
  const auto n = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(matrix.size()))));
  std::vector<double> result(matrix.size());
  run_ranks(static_cast<int>(counts.size()), [&](Communicator& communicator) {
    const auto own_count = counts.begin() + communicator.rank();
    const std::int64_t first = std::accumulate(counts.begin(), own_count, std::int64_t{0}), rows = *own_count;
    const auto ops = make_cpu_ops<float>();
    const auto score_ops = make_cpu_score_ops<float>();
    const PolarFactor<float> factor(*score_ops, tolerance);
    Arena arena(*ops);
    const auto memory = factor.take_memory(rows, n, arena);
    std::vector<double> own(matrix.begin() + first * n, matrix.begin() + (first + rows) * n);
    HostTensorCommunicator tensors(communicator);
    const double* polar = factor.compute(own.data(), memory, tensors);
    std::copy_n(polar, rows * n, result.begin() + first * n);
  });
  return result;
}

TEST(PolarFactor, IsThatOfTheSingularVectors) {
  for_each_case("polar_factor.json", 5, [](const nlohmann::json& given) {
    const std::vector<double> matrix = flat(given["matrix"]), expected = flat(given["polar"]);
    const auto n = static_cast<std::int64_t>(given["matrix"].size());
    for (const double tolerance : {1e-6, 1e-8}) {
      // A rounding error outside the matrix's range rises as the smallest singular values do.
      const double error = 1e-15 / tolerance;
      const std::vector<double> polar = polar_factor(matrix, {n}, tolerance);
      EXPECT_LT(relative_difference(polar, expected), error);
      double nuclear_norm = 0;
      for (std::size_t i = 0; i < matrix.size(); ++i) nuclear_norm += polar[i] * matrix[i];
      EXPECT_NEAR(nuclear_norm, given["nuclear_norm"].get<double>(), 1e-12 * nuclear_norm);
      EXPECT_LT(relative_difference(polar_factor(matrix, {n / 3, 0, n - n / 3}, tolerance), polar), error);
    }
  });
}

TEST(PolarFactor, OfZeroIsZero) {
  EXPECT_EQ(polar_factor(std::vector<double>(9, 0.0), {3}, 1e-6), std::vector<double>(9, 0.0));
}

// Singular values are taken to numbers near 1 from the tolerance on, and to numbers between 0 and 1 below it.
TEST(PolarFactor, StepsLeadToOne) {
  for (const double tolerance : {1e-3, 1e-6, 1e-8, 1e-12}) {
    const auto image = [&, steps = polar_steps(tolerance)](double s) {
      for (const PolarStep& step : steps) s = s * (step.linear + step.cubic * s * s);
      return s;
    };
    for (double s = 1; s >= tolerance; s *= 0.97) EXPECT_NEAR(image(s), 1, 1e-13) << s;
    for (double s = tolerance; s >= 1e-20; s *= 0.7) {
      EXPECT_GT(image(s), 0);
      EXPECT_LT(image(s), 1 + 1e-13);
    }
    EXPECT_LT(image(1e-4 * tolerance), 0.1);
  }
}

}  // namespace
}  // namespace toller
