// Squared norm and AdamW against the CPU.
#include "cuda/optimizer.cuh"

#include <gtest/gtest.h>

#include "cuda/device_array.h"
#include "device/ops.h"

namespace toller {
namespace {

double device_squared_norm(std::int64_t n, float* x) {
  DeviceArray<double> result(1), workspace(squared_norm_workspace(n));
  squared_norm(n, x, result.data(), workspace.data(), nullptr);
  return result.values()[0];
}

TEST(SquaredNormOnTheDevice, IsTheCpusAndRepeats) {
  in_both_thread_orders([] {
    for (const std::int64_t n : {0, 1, 3, 1023, 1024, 8195, 40'001}) {
      const auto x = random_numbers<float>(n + 1, 1);
      auto device_x = on_device<float>(x);
      for (const std::int64_t offset : {0, 1}) {  // 1: not a multiple of 16 bytes
        const double result = device_squared_norm(n, device_x.data() + offset);
        double reference = 0;
        make_cpu_ops<double>()->squared_norm(x.data() + offset, n, &reference);
        EXPECT_NEAR(result, reference, 1e-12 * reference);
        EXPECT_EQ(device_squared_norm(n, device_x.data() + offset), result);
      }
    }
  });
}

TEST(SquaredNormOnTheDevice, IsNotFiniteWhereAnElementIsNot) {
  auto x = random_numbers<float>(5000, 1);
  x[4999] = std::numeric_limits<double>::infinity();
  EXPECT_FALSE(std::isfinite(device_squared_norm(5000, on_device<float>(x).data())));
  x[4999] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(std::isfinite(device_squared_norm(5000, on_device<float>(x).data())));
}

/// A flat buffer with slices that begin anywhere.
struct AdamWProblem {
  std::vector<DecaySlice> slices = {{0, 1, true},       {1, 5000, false}, {5001, 3, true},
                                    {5004, 4096, true}, {9100, 2, false}, {9102, 898, true}};
  std::int64_t n = 10'000;
  std::vector<double> gradient = random_numbers<float>(n, 1), parameter = random_numbers<float>(n, 2),
                      m = random_numbers<float>(n, 3), v = random_numbers<float>(n, 4);
  AdamWStep step{.learning_rate = 0.03, .weight_decay = 0.1, .step = 3};

  AdamWProblem() {
    for (double& value : v) value = std::abs(value);
  }

  void run_cpu(double norm, double clip_norm) {
    const double squared = norm * norm;
    make_cpu_ops<double>()->adamw(slices, gradient.data(), step, {&squared, clip_norm}, parameter.data(),
                                  m.data(), v.data(), nullptr);
  }
};

/// The device's step on a problem, read back.
struct AdamWResult {
  std::vector<float> parameter, m, v;
  std::vector<bfloat16> copy;
};

AdamWResult run_device(const AdamWProblem& problem, std::vector<double> norm, double clip_norm,
                       bool with_copy) {
  const std::vector<AdamWTile> list = make_adamw_tiles(problem.slices);
  DeviceArray<AdamWTile> tiles(list);
  auto gradient = on_device<float>(problem.gradient), parameter = on_device<float>(problem.parameter),
       m = on_device<float>(problem.m), v = on_device<float>(problem.v);
  DeviceArray<bfloat16> copy(problem.n);
  DeviceArray<double> squared(norm);
  adamw(static_cast<std::int64_t>(list.size()), tiles.data(), gradient.data(), problem.step,
        {norm.empty() ? nullptr : squared.data(), clip_norm}, parameter.data(), m.data(), v.data(),
        with_copy ? copy.data() : nullptr, nullptr);
  return {parameter.values(), m.values(), v.values(), copy.values()};
}

void expect_result(const AdamWProblem& problem, const AdamWResult& result) {
  expect_near<float>(to_doubles(result.parameter), problem.parameter, "parameter");
  expect_near<float>(to_doubles(result.m), problem.m, "m");
  expect_near<float>(to_doubles(result.v), problem.v, "v");
}

TEST(AdamWOnTheDevice, IsTheCpus) {
  AdamWProblem problem;
  const AdamWResult result = run_device(problem, {}, 0, true);
  problem.run_cpu(4, 0);
  expect_result(problem, result);
  for (std::int64_t i = 0; i < problem.n; ++i) {
    EXPECT_EQ(bits_of(result.copy[i]), bits_of(from_float<bfloat16>(result.parameter[i])));
  }
}

TEST(AdamWOnTheDevice, WritesNoCopyWhereNoneIsWanted) {
  AdamWProblem problem;
  const AdamWResult result = run_device(problem, {}, 0, false);
  for (const bfloat16 value : result.copy) EXPECT_EQ(bits_of(value), 0xFFFF);
}

TEST(AdamWOnTheDevice, ClipsByTheNormOnTheDevice) {
  AdamWProblem problem, unclipped, free;
  const AdamWResult clipped = run_device(problem, {16.0}, 1.0, true);
  problem.run_cpu(4, 1);
  expect_result(problem, clipped);
  const AdamWResult below = run_device(unclipped, {16.0}, 4.5, true);
  unclipped.run_cpu(4, 0);
  expect_result(unclipped, below);
  const AdamWResult unlimited = run_device(free, {16.0}, 0, true);
  free.run_cpu(4, 0);
  expect_result(free, unlimited);
}

TEST(AdamWOnTheDevice, ChangesNothingWhereTheNormIsNotFinite) {
  const AdamWProblem problem;
  for (const double norm :
       {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    const AdamWResult result = run_device(problem, {norm}, 1.0, true);
    EXPECT_EQ(to_doubles(result.parameter), problem.parameter);
    EXPECT_EQ(to_doubles(result.m), problem.m);
    EXPECT_EQ(to_doubles(result.v), problem.v);
  }
}

TEST(AdamWTiles, CoverEverySliceOnce) {
  const AdamWProblem problem;
  std::int64_t end = 0;
  for (const AdamWTile& tile : make_adamw_tiles(problem.slices)) {
    EXPECT_EQ(tile.begin, end);
    EXPECT_GT(tile.size, 0);
    end += tile.size;
    for (const DecaySlice& slice : problem.slices) {
      if (tile.begin < slice.offset || tile.begin >= slice.offset + slice.size) continue;
      EXPECT_LE(end, slice.offset + slice.size);
      EXPECT_EQ(tile.decay, slice.decay);
    }
  }
  EXPECT_EQ(end, problem.n);
}

}  // namespace
}  // namespace toller
