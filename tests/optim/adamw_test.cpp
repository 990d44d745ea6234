#include "optim/adamw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "error.h"

namespace toller {
namespace {

template <class T>
class AdamWTest : public testing::Test {
 protected:
  std::unique_ptr<Ops<T>> ops_ = make_cpu_ops<T>();
};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(AdamWTest, Elements);

template <class T>
constexpr double kTolerance = std::is_same_v<T, float> ? 2e-6 : 1e-13;

nlohmann::json torch_cases() {
  std::ifstream file(TOLLER_SOURCE_DIR "/tests/optim/fixtures/adamw.json");
  return nlohmann::json::parse(file);
}

TYPED_TEST(AdamWTest, TakesTheStepsOfTorch) {
  using T = TypeParam;
  for (const auto& given : torch_cases()) {
    SCOPED_TRACE(given["name"].get<std::string>());
    auto parameters = given["parameters"].get<std::vector<T>>();
    const auto size = static_cast<std::int64_t>(parameters.size());
    const std::int64_t decayed = given["decayed"];
    const AdamWOptions options{given["beta1"], given["beta2"], given["epsilon"], given["weight_decay"],
                               given["clip_norm"]};
    AdamW<T> optimizer(*this->ops_, {{0, decayed, true}, {decayed, size - decayed, false}}, options);
    for (std::size_t step = 0; step < given["gradients"].size(); ++step) {
      const auto gradient = given["gradients"][step].get<std::vector<T>>();
      optimizer.update(static_cast<std::int64_t>(step) + 1, given["learning_rates"][step], gradient.data(),
                       parameters.data(), nullptr);
      const double norm = std::sqrt(*optimizer.squared_norm());
      EXPECT_NEAR(norm, given["norms"][step].get<double>(), kTolerance<T> * norm);
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        EXPECT_NEAR(parameters[i], given["after"][step][i].get<double>(), kTolerance<T>) << step << " " << i;
      }
    }
  }
}

// Written as in the paper's algorithm 2, one number at a time.
TYPED_TEST(AdamWTest, FollowsTheScalarAlgorithm) {
  using T = TypeParam;
  const AdamWOptions options{0.7, 0.9, 1e-3, 0.1, 0};
  AdamW<T> optimizer(*this->ops_, {{0, 1, true}, {1, 1, false}}, options);
  T parameters[] = {T(0.5), T(-2)};
  double expected[] = {0.5, -2.0}, m[] = {0, 0}, v[] = {0, 0};
  for (int step = 1; step <= 10; ++step) {
    const T gradient[] = {static_cast<T>(std::sin(step)), static_cast<T>(3 * std::cos(step))};
    const double rate = 0.01 * step;
    optimizer.update(step, rate, gradient, parameters, nullptr);
    for (int i = 0; i < 2; ++i) {
      const double g = static_cast<double>(gradient[i]);
      m[i] = 0.7 * m[i] + 0.3 * g;
      v[i] = 0.9 * v[i] + 0.1 * g * g;
      const double m_hat = m[i] / (1 - std::pow(0.7, step)), v_hat = v[i] / (1 - std::pow(0.9, step));
      const double decay = i == 0 ? 0.1 : 0.0;
      expected[i] -= rate * (m_hat / (std::sqrt(v_hat) + 1e-3) + decay * expected[i]);
      EXPECT_NEAR(parameters[i], expected[i], kTolerance<T> * 5);
      EXPECT_NEAR(optimizer.m().data()[i], m[i], kTolerance<T>);
      EXPECT_NEAR(optimizer.v().data()[i], v[i], kTolerance<T> * 10);
    }
  }
}

TYPED_TEST(AdamWTest, ClipsByTheGlobalNorm) {
  using T = TypeParam;
  AdamW<T> clipped(*this->ops_, {{0, 1, false}, {1, 1, false}}, {0.9, 0.999, 1e-8, 0, 1.0});
  T parameters[] = {0, 0};
  const T gradient[] = {3, 4};
  clipped.update(1, 0.1, gradient, parameters, nullptr);
  EXPECT_NEAR(std::sqrt(*clipped.squared_norm()), 5.0, 1e-6);
  EXPECT_NEAR(clipped.m().data()[0], 0.1 * 0.6, 1e-7);
  EXPECT_NEAR(clipped.m().data()[1], 0.1 * 0.8, 1e-7);

  AdamW<T> within(*this->ops_, {{0, 2, false}}, {0.9, 0.999, 1e-8, 0, 5.0});
  within.update(1, 0.1, gradient, parameters, nullptr);
  EXPECT_NEAR(within.m().data()[0], 0.1 * 3, 1e-7);
}

TYPED_TEST(AdamWTest, UpdatesNothingWhenTheGradientIsNotFinite) {
  using T = TypeParam;
  AdamW<T> optimizer(*this->ops_, {{0, 3, true}}, {});
  T parameters[] = {1, 2, 3};
  for (const T bad : {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity()}) {
    const T gradient[] = {1, bad, 1};
    optimizer.update(7, 0.1, gradient, parameters, nullptr);
    EXPECT_FALSE(std::isfinite(*optimizer.squared_norm()));
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(parameters[i], T(i + 1));
    EXPECT_EQ(optimizer.m().data()[i], T(0));
    EXPECT_EQ(optimizer.v().data()[i], T(0));
  }
}

TYPED_TEST(AdamWTest, NamesTheSlicesThatAreNotFiniteInEachOfTheLastTwoUpdates) {
  using T = TypeParam;
  constexpr T kBad = std::numeric_limits<T>::quiet_NaN();
  AdamW<T> optimizer(*this->ops_, {{0, 1, true}, {1, 2, false}, {3, 1, true}}, {});
  T parameters[] = {1, 2, 3, 4};
  const T first[] = {0, 1, kBad, 1}, second[] = {-kBad, 1, 2, std::numeric_limits<T>::infinity()};
  const T fine[] = {1, 1, 1, 1};
  using Slices = std::vector<std::size_t>;
  optimizer.update(1, 0.1, first, parameters, nullptr);
  EXPECT_EQ(optimizer.slices_not_finite(1), Slices{1});
  optimizer.update(2, 0.1, second, parameters, nullptr);
  EXPECT_EQ(optimizer.slices_not_finite(1), Slices{1});
  EXPECT_EQ(optimizer.slices_not_finite(2), (Slices{0, 2}));
  EXPECT_EQ(parameters[1], T(2));
  optimizer.update(3, 0.1, fine, parameters, nullptr);
  EXPECT_NE(parameters[1], T(2));
}

TYPED_TEST(AdamWTest, LeavesParametersAloneWithoutGradientAndDecay) {
  using T = TypeParam;
  AdamW<T> optimizer(*this->ops_, {{0, 2, false}}, {});
  T parameters[] = {1, -2};
  const T gradient[] = {0, 0};
  optimizer.update(1, 0.1, gradient, parameters, nullptr);
  EXPECT_EQ(*optimizer.squared_norm(), 0.0);
  EXPECT_EQ(parameters[0], T(1));
  EXPECT_EQ(parameters[1], T(-2));
}

TEST(AdamWOptionsCheck, NamesTheOptionThatIsOutOfRange) {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  struct Case {
    const char* name;
    double AdamWOptions::*option;
    std::vector<double> bad;
  };
  const Case cases[] = {{"beta1", &AdamWOptions::beta1, {-0.1, 1.0, kNaN}},
                        {"beta2", &AdamWOptions::beta2, {-0.1, 1.0, kNaN}},
                        {"epsilon", &AdamWOptions::epsilon, {-1e-8, 0.0, kNaN, kInfinity}},
                        {"weight_decay", &AdamWOptions::weight_decay, {-0.1, kNaN, kInfinity}},
                        {"clip_norm", &AdamWOptions::clip_norm, {-1.0, kNaN, kInfinity}}};
  const auto ops = make_cpu_ops<float>();
  for (const Case& given : cases) {
    for (const double value : given.bad) {
      AdamWOptions options;
      options.*given.option = value;
      try {
        AdamW<float> optimizer(*ops, {{0, 1, true}}, options);
        ADD_FAILURE() << given.name << " = " << value << " was taken";
      } catch (const UsageError& error) {
        EXPECT_EQ(std::string(error.what()).rfind(given.name, 0), 0u) << error.what();
      }
    }
  }
}

TEST(AdamWOptionsCheck, RejectsSlicesWithGapsAndBadSteps) {
  const auto ops = make_cpu_ops<float>();
  EXPECT_THROW(AdamW<float>(*ops, {{1, 2, true}}, {}), Error);
  EXPECT_THROW(AdamW<float>(*ops, {{0, 2, true}, {3, 1, true}}, {}), Error);
  EXPECT_THROW(AdamW<float>(*ops, {{0, 2, true}, {1, 1, true}}, {}), Error);
  EXPECT_THROW(AdamW<float>(*ops, {{0, -1, true}}, {}), Error);
  AdamW<float> optimizer(*ops, {{0, 1, true}}, {});
  float parameter = 1, gradient = 1;
  EXPECT_THROW(optimizer.update(0, 0.1, &gradient, &parameter, nullptr), Error);
  EXPECT_THROW(optimizer.update(1, -0.1, &gradient, &parameter, nullptr), UsageError);
  EXPECT_THROW(optimizer.update(1, std::numeric_limits<double>::quiet_NaN(), &gradient, &parameter, nullptr),
               UsageError);
  EXPECT_EQ(parameter, 1.0f);
}

}  // namespace
}  // namespace toller
