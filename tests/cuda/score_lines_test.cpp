// Lines of scores, InfoNCE's terms and dot products against plain loops in double. The device works in double
// too, so that only the order of sums and the last bits of exp and log differ: 1e-12 of the terms.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "cuda/device_array.h"
#include "cuda/score_tiles.cuh"

namespace toller {
namespace {

constexpr double kDoubleError = 1e-12;
const double kInfinity = std::numeric_limits<double>::infinity();

DeviceArray<double> doubles_on_device(const std::vector<double>& values) {
  return DeviceArray<double>(values);
}

void expect_doubles(const std::vector<double>& result, const std::vector<double>& reference,
                    const char* name) {
  ASSERT_EQ(result.size(), reference.size()) << name;
  for (std::size_t i = 0; i < result.size(); ++i) {
    if (std::isnan(reference[i])) {
      ASSERT_TRUE(std::isnan(result[i])) << name << "[" << i << "] is " << result[i];
    } else if (std::isinf(reference[i])) {
      ASSERT_EQ(result[i], reference[i]) << name << "[" << i << "]";
    } else {
      ASSERT_NEAR(result[i], reference[i], kDoubleError * std::abs(reference[i])) << name << "[" << i << "]";
    }
  }
}

TEST(ScoreLinesOnTheDevice, InvertTheTemperature) {
  DeviceArray<double> result(1);
  for (const double temperature : {0.005, 0.05, 1.0}) {
    const std::vector<double> log_temperature = rounded<float>({std::log(temperature)});
    invert_temperature(on_device<float>(log_temperature).data(), result.data(), nullptr);
    EXPECT_NEAR(result.values()[0], std::exp(-log_temperature[0]), 1e-13 / temperature);
  }
}

TEST(ScoreLinesOnTheDevice, AreReset) {
  for (const std::int64_t n : {0, 1, 255, 700}) {
    DeviceArray<float> max(n + 1);
    DeviceArray<double> sum(n + 1);
    reset_lines(n, max.data(), sum.data(), nullptr);
    std::vector<double> maxima = max.doubles(), sums = sum.values();
    EXPECT_TRUE(std::isnan(maxima.back()) && std::isnan(sums.back()));
    maxima.pop_back();
    sums.pop_back();
    EXPECT_EQ(maxima, std::vector<double>(n, -kInfinity));
    EXPECT_EQ(sums, std::vector<double>(n, 0.0));
  }
}

TEST(ScoreLinesOnTheDevice, AreRescaled) {
  const double inverse = 200, nan = std::nan("");
  const std::vector<double> max = rounded<float>({0.25, 0.25, -kInfinity, -kInfinity, -1, -0.1, -kInfinity});
  const std::vector<double> new_max = rounded<float>({0.25, 0.3, 0.3, -kInfinity, 1, 0.1, 0.5});
  const std::vector<double> sum = {3, 4, 0, 0, 5, nan, nan};
  std::vector<double> reference(sum.size());
  for (std::size_t i = 0; i < sum.size(); ++i) {
    const bool changes = max[i] != new_max[i];
    reference[i] = changes ? sum[i] * std::exp((max[i] - new_max[i]) * inverse) : sum[i];
  }
  auto device_sum = doubles_on_device(sum);
  rescale_sums(static_cast<std::int64_t>(sum.size()), doubles_on_device({inverse}).data(),
               on_device<float>(max).data(), on_device<float>(new_max).data(), device_sum.data(), nullptr);
  expect_doubles(device_sum.values(), reference, "sum");
  EXPECT_EQ(device_sum.values()[3], 0);  // an empty line stays one
}

TEST(ScoreLinesOnTheDevice, BecomeShiftsAndOffsets) {
  const double inverse = 20, nan = std::nan("");
  const std::vector<double> max = rounded<float>({0.7, -kInfinity, -0.3, 0.5, -kInfinity});
  const std::vector<double> sum = {12.5, 0, 1, 2, nan}, weight = {0.01, 0.3, 0, 1e-30, 0.1};
  const auto n = static_cast<std::int64_t>(max.size());
  DeviceArray<float> shift(n), offset(n);
  softmax_lines(n, doubles_on_device({inverse}).data(), on_device<float>(max).data(),
                doubles_on_device(sum).data(), doubles_on_device(weight).data(), shift.data(), offset.data(),
                nullptr);
  EXPECT_EQ(shift.doubles(), (std::vector<double>{max[0], 0, max[2], max[3], 0}));
  const std::vector<double> offsets = offset.doubles();
  const auto log_slope = [&](std::size_t i) { return std::log(inverse * weight[i] / sum[i]); };
  EXPECT_NEAR(offsets[0], log_slope(0), 0x1p-24 * std::abs(log_slope(0)));
  EXPECT_EQ(offsets[1], -kInfinity);  // an empty line
  EXPECT_EQ(offsets[2], -kInfinity);  // no weight
  EXPECT_NEAR(offsets[3], log_slope(3), 0x1p-24 * std::abs(log_slope(3)));
  EXPECT_TRUE(std::isnan(offsets[4]));
}

/// Lines with 0 to 3 pairs each; some lines are empty of scores. Pairs in any order where `ordered`.
struct Terms {
  std::int64_t lines;
  double inverse;
  bool ordered;
  std::vector<std::int64_t> begin{0};
  std::vector<std::int32_t> order;
  std::vector<double> max, sum, weight, score, gradient, line_weight;
  double value = 0.75;

  Terms(std::int64_t lines_, double temperature, bool ordered_)
      : lines(lines_), inverse(1 / temperature), ordered(ordered_) {
    for (std::int64_t i = 0; i < lines; ++i) begin.push_back(begin.back() + (i * 5 + 1) % 4);
    const std::int64_t pairs = begin.back();
    std::mt19937 generator(7);
    std::uniform_real_distribution<double> cosine(-1, 1), positive(0.01, 1);
    for (std::int64_t i = 0; i < lines; ++i) {
      const bool empty = i % 7 == 3;
      max.push_back(empty ? -kInfinity : cosine(generator));
      sum.push_back(empty ? 0 : 1 + 100 * positive(generator));
    }
    for (std::int64_t i = 0; i < pairs; ++i) {
      weight.push_back(positive(generator));
      score.push_back(cosine(generator));
      gradient.push_back(cosine(generator));
    }
    max = rounded<float>(max);
    score = rounded<float>(score);
    order.resize(pairs);
    std::iota(order.begin(), order.end(), 0);
    if (ordered) std::shuffle(order.begin(), order.end(), generator);
    line_weight.assign(lines, std::nan(""));
  }

  void run_reference() {
    for (std::int64_t line = 0; line < lines; ++line) {
      line_weight[line] = 0;
      for (std::int64_t at = begin[line]; at < begin[line + 1]; ++at) {
        const std::int32_t p = order[at];
        const double x = (max[line] - score[p]) * inverse + std::log(sum[line]);
        value += weight[p] * (std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))));
        const double slope = weight[p] / (1 + std::exp(-x));
        line_weight[line] += slope;
        gradient[p] -= slope;
      }
    }
  }

  void run_device() {
    DeviceArray<std::int64_t> device_begin(begin);
    DeviceArray<std::int32_t> device_order(order);
    auto device_max = on_device<float>(max), device_score = on_device<float>(score);
    auto device_sum = doubles_on_device(sum), device_weight = doubles_on_device(weight),
         device_line_weight = doubles_on_device(line_weight), device_gradient = doubles_on_device(gradient),
         device_value = doubles_on_device({value}), device_inverse = doubles_on_device({inverse});
    DeviceArray<double> workspace(contrastive_terms_workspace(lines));
    contrastive_terms({.lines = {lines, device_begin.data(), ordered ? device_order.data() : nullptr},
                       .max = device_max.data(),
                       .sum = device_sum.data(),
                       .weight = device_weight.data(),
                       .score = device_score.data(),
                       .line_weight = device_line_weight.data(),
                       .gradient = device_gradient.data(),
                       .value = device_value.data()},
                      device_inverse.data(), workspace.data(), nullptr);
    line_weight = device_line_weight.values();
    gradient = device_gradient.values();
    value = device_value.values()[0];
  }
};

void compare_terms(std::int64_t lines, double temperature, bool ordered) {
  SCOPED_TRACE(testing::Message() << lines << " lines, temperature " << temperature);
  Terms device(lines, temperature, ordered), again = device, reference = device;
  device.run_device();
  again.run_device();
  reference.run_reference();
  expect_doubles(device.line_weight, reference.line_weight, "line_weight");
  expect_doubles({device.value}, {reference.value}, "value");
  for (std::size_t i = 0; i < device.gradient.size(); ++i) {  // of weights up to 1
    ASSERT_NEAR(device.gradient[i], reference.gradient[i], kDoubleError) << "gradient[" << i << "]";
  }
  EXPECT_EQ(device.value, again.value);
  EXPECT_EQ(device.line_weight, again.line_weight);
  EXPECT_EQ(device.gradient, again.gradient);
}

TEST(ContrastiveTermsOnTheDevice, ArePlainLoops) {
  in_both_thread_orders([] {
    for (const std::int64_t lines : {0, 1, 5, 64, 65, 700}) {
      for (const double temperature : {0.005, 0.1, 1.0}) {
        for (const bool ordered : {false, true}) compare_terms(lines, temperature, ordered);
      }
    }
  });
}

TEST(ContrastiveTermsOnTheDevice, AreZeroWithoutNegativesAndNanWithNan) {
  Terms empty(4, 0.05, false), broken = empty;
  empty.max.assign(4, -kInfinity);
  empty.sum.assign(4, 0);
  empty.run_device();
  EXPECT_EQ(empty.value, 0.75);
  EXPECT_EQ(empty.line_weight, std::vector<double>(4, 0.0));
  broken.sum[0] = std::nan("");  // line 0 has a pair
  broken.run_device();
  EXPECT_TRUE(std::isnan(broken.value));
  EXPECT_TRUE(std::isnan(broken.line_weight[0]));
  EXPECT_FALSE(std::isnan(broken.line_weight[2]));
}

template <class T>
class DotOnTheDevice : public testing::Test {};
TYPED_TEST_SUITE(DotOnTheDevice, StorageTypes);

TYPED_TEST(DotOnTheDevice, IsAPlainLoop) {
  using T = TypeParam;
  in_both_thread_orders([] {
    for (const std::int64_t n : {0, 1, 3, 1024, 8195, 40'004}) {
      const auto a = random_numbers<T>(n + 1, 1), b = random_numbers<float>(n + 1, 2);
      auto device_a = on_device<T>(a);
      auto device_b = on_device<float>(b);
      DeviceArray<double> result(2), workspace(dot_workspace(n));
      for (const std::int64_t offset : {0, 1}) {
        double reference = 0, terms = 0;
        for (std::int64_t i = offset; i < n + offset; ++i) {
          reference += a[i] * b[i];
          terms += std::abs(a[i] * b[i]);
        }
        for (const std::int64_t place : {0, 1}) {
          dot<T>(n, device_a.data() + offset, device_b.data() + offset, -2.5, result.data() + place,
                 workspace.data(), nullptr);
        }
        EXPECT_NEAR(result.values()[0], -2.5 * reference, kDoubleError * terms);
        EXPECT_EQ(result.values()[0], result.values()[1]);
      }
    }
  });
}

}  // namespace
}  // namespace toller
