#include "device/cpu/vector_math.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace toller {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// Difference from the exact value, in units of the last place of the float nearest to it.
double error_ulp(float value, double exact) {
  int exponent = 0;
  std::frexp(exact, &exponent);
  return std::abs(static_cast<double>(value) - exact) / std::ldexp(1.0, std::max(exponent, -125) - 24);
}

/// Every 211th float between 0 and `limit`, with the sign of `sign`, in order.
std::vector<float> floats_up_to(float limit, float sign) {
  std::vector<float> values;
  const auto last = std::bit_cast<std::uint32_t>(limit);
  for (std::uint32_t bits = 0; bits <= last; bits += 211) {
    values.push_back(std::copysign(std::bit_cast<float>(bits), sign));
  }
  values.push_back(std::copysign(limit, sign));
  return values;
}

/// Largest error of `function` over `x`, called in a vector loop as the kernels do.
template <class Function, class Exact>
double worst_error(const std::vector<float>& x, Function function, Exact exact) {
  std::vector<float> y(x.size());
#pragma omp simd
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = function(x[i]);
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    worst = std::max(worst, error_ulp(y[i], exact(static_cast<double>(x[i]))));
  }
  return worst;
}

float exp_of(float x) {
  return vector_exp(x);
}
float erf_of(float x) {
  return vector_erf(x);
}

TEST(VectorExp, StaysWithinOneUnitOfTheLastPlace) {
  const auto exact = [](double x) { return std::exp(x); };
  EXPECT_LE(worst_error(floats_up_to(88.72283f, 1), exp_of, exact), 1.0);
  EXPECT_LE(worst_error(floats_up_to(87.3365f, -1), exp_of, exact), 1.0);
}

TEST(VectorExp, KeepsTheEndsOfTheLine) {
  EXPECT_EQ(vector_exp(0.0f), 1.0f);
  EXPECT_EQ(vector_exp(-0.0f), 1.0f);
  EXPECT_EQ(vector_exp(-87.34f), 0.0f);
  EXPECT_EQ(vector_exp(-kInfinity), 0.0f);
  EXPECT_EQ(vector_exp(88.73f), kInfinity);
  EXPECT_EQ(vector_exp(kInfinity), kInfinity);
  EXPECT_EQ(vector_exp(std::numeric_limits<float>::max()), kInfinity);
  EXPECT_TRUE(std::isnan(vector_exp(kNaN)));
  EXPECT_TRUE(std::isnan(vector_exp(-kNaN)));
  EXPECT_EQ(vector_exp(-2.5), std::exp(-2.5));
}

TEST(VectorErf, StaysWithinOneAndAHalfUnitsOfTheLastPlace) {
  const auto exact = [](double x) { return std::erf(x); };
  EXPECT_LE(worst_error(floats_up_to(6.0f, 1), erf_of, exact), 1.5);
  EXPECT_LE(worst_error(floats_up_to(6.0f, -1), erf_of, exact), 1.5);
}

TEST(VectorErf, KeepsTheEndsOfTheLine) {
  EXPECT_EQ(vector_erf(0.0f), 0.0f);
  EXPECT_TRUE(std::signbit(vector_erf(-0.0f)));
  EXPECT_EQ(vector_erf(kInfinity), 1.0f);
  EXPECT_EQ(vector_erf(-kInfinity), -1.0f);
  EXPECT_EQ(vector_erf(1e30f), 1.0f);
  EXPECT_TRUE(std::isnan(vector_erf(kNaN)));
  EXPECT_EQ(vector_erf(0.3), std::erf(0.3));
}

}  // namespace
}  // namespace toller
