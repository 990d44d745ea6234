// Pooling and normalisation against the CPU.
#include "cuda/pooling.cuh"

#include <gtest/gtest.h>

#include "cuda/device_array.h"
#include "cuda/packed_rows.h"

namespace toller {
namespace {

template <class T>
class PoolingOnTheDevice : public testing::Test {};
TYPED_TEST_SUITE(PoolingOnTheDevice, StorageTypes);

template <class T>
void compare_pooling(const PackedRows& batch, std::int64_t h, PooledTokens which) {
  const std::int64_t n = batch.rows(), count = batch.sequences.count;
  const bool last = which == PooledTokens::kLast;
  const auto x = random_numbers<T>(n * h, 1), dy = random_numbers<float>(count * h, 2);
  auto device_x = on_device<T>(x);
  auto device_dy = on_device<float>(dy);
  DeviceArray<std::int32_t> offsets(batch.offsets);
  DeviceArray<float> y(count * h);
  DeviceArray<T> dx(n * h);
  pool<T>(count, offsets.data(), h, which, device_x.data(), y.data(), nullptr);
  pool_backward<T>(count, offsets.data(), h, which, device_dy.data(), dx.data(), nullptr);

  const auto cpu = make_cpu_ops<double>();
  std::vector<double> reference_y(count * h), reference_dx(n * h);
  if (which == PooledTokens::kMean) {
    cpu->pool_mean(batch.sequences, h, x.data(), reference_y.data());
    cpu->pool_mean_backward(batch.sequences, h, dy.data(), reference_dx.data());
  } else {
    cpu->pool_token(batch.sequences, h, last, x.data(), reference_y.data());
    cpu->pool_token_backward(batch.sequences, h, last, dy.data(), reference_dx.data());
  }
  expect_near<float>(y.doubles(), reference_y, "y");
  expect_near<T>(dx.doubles(), reference_dx, "dx");
}

TYPED_TEST(PoolingOnTheDevice, IsTheCpus) {
  for_row_shapes([](const PackedRows& batch, std::int64_t hidden) {
    for (const auto which : {PooledTokens::kMean, PooledTokens::kFirst, PooledTokens::kLast}) {
      compare_pooling<TypeParam>(batch, hidden, which);
    }
  });
}

void compare_normalization(std::int64_t rows, std::int64_t h) {
  SCOPED_TRACE(testing::Message() << rows << " × " << h);
  auto x = random_numbers<float>(rows * h, 1);
  const auto dy = random_numbers<float>(rows * h, 2);
  std::fill_n(x.begin() + (rows - 1) * h, h, 0.0);  // the last row is zero
  auto y = on_device<float>(x), dx = on_device<float>(dy);
  DeviceArray<float> norm(rows);
  normalize_rows(rows, h, y.data(), norm.data(), y.data(), nullptr);
  normalize_rows_backward(rows, h, dx.data(), y.data(), norm.data(), dx.data(), nullptr);

  const auto cpu = make_cpu_ops<double>();
  std::vector<double> reference_y(rows * h), reference_norm(rows), reference_dx(rows * h);
  cpu->normalize_rows(rows, h, x.data(), reference_norm.data(), reference_y.data());
  cpu->normalize_rows_backward(rows, h, dy.data(), reference_y.data(), reference_norm.data(),
                               reference_dx.data());
  expect_near<float>(norm.doubles(), reference_norm, "norm");
  expect_near<float>(y.doubles(), reference_y, "y");
  if (h > 1) expect_near<float>(dx.doubles(), reference_dx, "dx");  // h = 1: zero but for rounding
}

TEST(NormalizationOnTheDevice, IsTheCpus) {
  in_both_thread_orders([] {
    for (const std::int64_t rows : {1, 2, 9, 40}) {
      for (const std::int64_t h : {1, 12, 65, 384, 768, 1100}) compare_normalization(rows, h);
    }
  });
}

TEST(NormalizationOnTheDevice, KeepsNaN) {
  auto x = on_device<float>({1, std::numeric_limits<double>::quiet_NaN(), 2, 3});
  DeviceArray<float> norm(1), y(4);
  normalize_rows(1, 4, x.data(), norm.data(), y.data(), nullptr);
  EXPECT_TRUE(std::isnan(norm.values()[0]));
  for (const float value : y.values()) EXPECT_TRUE(std::isnan(value));
}

}  // namespace
}  // namespace toller
