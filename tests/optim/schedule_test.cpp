#include "optim/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "error.h"

namespace toller {
namespace {

TEST(Schedule, WarmsUpAndDecaysLinearly) {
  const Schedule schedule{0.4, Decay::kLinear, 4, 9};
  const double expected[] = {0.1, 0.2, 0.3, 0.4, 0.4 * 5 / 6, 0.4 * 4 / 6, 0.4 * 3 / 6, 0.4 * 2 / 6, 0.4 / 6};
  for (int step = 1; step <= 9; ++step) EXPECT_NEAR(schedule.at(step), expected[step - 1], 1e-15) << step;
}

TEST(Schedule, DecaysByACosine) {
  const Schedule schedule{2.0, Decay::kCosine, 1, 4};
  EXPECT_DOUBLE_EQ(schedule.at(1), 2.0);
  EXPECT_NEAR(schedule.at(2), 1 + std::sqrt(0.5), 1e-15);
  EXPECT_NEAR(schedule.at(3), 1.0, 1e-15);
  EXPECT_NEAR(schedule.at(4), 1 - std::sqrt(0.5), 1e-15);
}

TEST(Schedule, StaysConstantAfterTheWarmUp) {
  const Schedule schedule{1.0, Decay::kConstant, 2, 5};
  EXPECT_EQ(schedule.at(1), 0.5);
  for (int step = 2; step <= 5; ++step) EXPECT_EQ(schedule.at(step), 1.0);
}

TEST(Schedule, WorksWithoutWarmUpAndWithNothingElse) {
  EXPECT_DOUBLE_EQ((Schedule{1.0, Decay::kLinear, 0, 1}.at(1)), 0.5);
  EXPECT_DOUBLE_EQ((Schedule{1.0, Decay::kLinear, 0, 3}.at(1)), 0.75);
  EXPECT_DOUBLE_EQ((Schedule{1.0, Decay::kLinear, 8, 4}.at(4)), 0.5);
  EXPECT_DOUBLE_EQ((Schedule{1.0, Decay::kCosine, 4, 4}.at(4)), 1.0);
}

void expect_usage_error(const std::function<void()>& action, const std::string& word) {
  try {
    action();
    ADD_FAILURE() << "no error that names " << word;
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
  }
}

TEST(Schedule, RejectsWhatIsOutOfRange) {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  expect_usage_error([] { Schedule{-1e-3}.at(1); }, "learning rate");
  expect_usage_error([] { Schedule{kNaN}.at(1); }, "learning rate");
  expect_usage_error([] { (Schedule{1, Decay::kLinear, -1, 5}.at(1)); }, "warmup_steps");
  expect_usage_error([] { (Schedule{1, Decay::kLinear, 0, 0}.at(1)); }, "total_steps");
  EXPECT_THROW((Schedule{1, Decay::kLinear, 0, 5}.at(0)), Error);
  EXPECT_THROW((Schedule{1, Decay::kLinear, 0, 5}.at(6)), Error);
}

TEST(Schedule, KnowsItsDecaysByName) {
  EXPECT_EQ(decay_from_name("constant"), Decay::kConstant);
  EXPECT_EQ(decay_from_name("linear"), Decay::kLinear);
  EXPECT_EQ(decay_from_name("cosine"), Decay::kCosine);
  expect_usage_error([] { decay_from_name("cosin"); }, "cosin");
}

}  // namespace
}  // namespace toller
