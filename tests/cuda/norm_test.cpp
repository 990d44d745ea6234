// Residual, dropout and layer norm against the CPU. The sum is rounded once; everything after it is held
// against the CPU's result for the rounded sum, and so is off by the rounding of the output alone.
#include "cuda/norm.cuh"

#include <gtest/gtest.h>

#include "cuda/device_array.h"
#include "cuda/packed_rows.h"

namespace toller {
namespace {

constexpr double kEpsilon = 1e-12;

template <class T>
class ResidualNormOnTheDevice : public testing::Test {};
TYPED_TEST_SUITE(ResidualNormOnTheDevice, StorageTypes);

template <class T>
void compare_forward(const PackedRows& batch, std::int64_t h, const Dropout& dropout) {
  const std::int64_t n = batch.rows();
  const auto cpu = make_cpu_ops<double>();
  const auto x = random_numbers<T>(n * h, 1), x_bias = random_numbers<T>(h, 2),
             residual = random_numbers<T>(n * h, 3), gain = random_numbers<T>(h, 4, 1),
             bias = random_numbers<T>(h, 5);

  auto device_x = on_device<T>(x), device_bias = on_device<T>(x_bias),
       device_residual = on_device<T>(residual), device_gain = on_device<T>(gain),
       device_norm_bias = on_device<T>(bias);
  DeviceArray<std::int64_t> global_row(batch.global_rows);
  DeviceArray<float> mean(n), rstd(n);
  DeviceArray<T> y(n * h);
  residual_norm<T>(n, h, global_row.data(), device_x.data(), device_bias.data(), device_residual.data(),
                   device_gain.data(), device_norm_bias.data(), static_cast<float>(kEpsilon), dropout,
                   mean.data(), rstd.data(), y.data(), nullptr);

  std::vector<double> sum = x, reference_mean(n), reference_rstd(n), reference_y(n * h);
  cpu->residual_norm(batch.sequences, h, sum.data(), x_bias.data(), residual.data(), gain.data(), bias.data(),
                     kEpsilon, dropout, reference_mean.data(), reference_rstd.data(), reference_y.data());
  expect_near<T>(device_x.doubles(), sum, "sum");

  sum = device_x.doubles();
  const std::vector<double> zero(n * h);
  cpu->residual_norm(batch.sequences, h, sum.data(), zero.data(), zero.data(), gain.data(), bias.data(),
                     kEpsilon, {}, reference_mean.data(), reference_rstd.data(), reference_y.data());
  if (h == 1) return;  // 1 / √ε times a difference that is rounding alone
  expect_near<float>(mean.doubles(), reference_mean, "mean", typical_size(sum));
  expect_near<float>(rstd.doubles(), reference_rstd, "rstd");
  expect_near<T>(y.doubles(), reference_y, "y");
}

/// `in_place`: dsum is dy, as the encoder has it; without dropout dx is dsum too.
template <class T>
void compare_backward(const PackedRows& batch, std::int64_t h, const Dropout& dropout, bool in_place) {
  const std::int64_t n = batch.rows();
  const auto cpu = make_cpu_ops<double>();
  const auto dy = random_numbers<T>(n * h, 1), sum = random_numbers<T>(n * h, 2),
             gain = random_numbers<T>(h, 4, 1), mean = random_numbers<float>(n, 5);
  auto rstd = random_numbers<float>(n, 6, 3), dgain = random_numbers<float>(h, 7),
       dbias = random_numbers<float>(h, 8);

  auto device_dy = on_device<T>(dy), device_sum = on_device<T>(sum), device_gain = on_device<T>(gain);
  auto device_mean = on_device<float>(mean), device_rstd = on_device<float>(rstd),
       device_dgain = on_device<float>(dgain), device_dbias = on_device<float>(dbias);
  DeviceArray<std::int64_t> global_row(batch.global_rows);
  DeviceArray<T> dsum(n * h), dx(n * h);
  DeviceArray<float> workspace(norm_backward_workspace(n, h));
  T* const dsum_at = in_place ? device_dy.data() : dsum.data();
  T* const dx_at = in_place && dropout.rate == 0 ? dsum_at : dx.data();
  residual_norm_backward<T>(n, h, global_row.data(), device_dy.data(), device_sum.data(), device_mean.data(),
                            device_rstd.data(), device_gain.data(), dropout, dsum_at, dx_at,
                            device_dgain.data(), device_dbias.data(), workspace.data(), nullptr);

  std::vector<double> reference_dsum(n * h), reference_dx(n * h);
  cpu->residual_norm_backward(batch.sequences, h, dy.data(), sum.data(), mean.data(), rstd.data(),
                              gain.data(), dropout, reference_dsum.data(), reference_dx.data(), dgain.data(),
                              dbias.data());
  expect_near<T>((in_place ? device_dy : dsum).doubles(), reference_dsum, "dsum");
  if (dx_at != dsum_at) expect_near<T>(dx.doubles(), reference_dx, "dx");
  expect_near<float>(device_dgain.doubles(), dgain, "dgain");
  expect_near<float>(device_dbias.doubles(), dbias, "dbias");
}

TYPED_TEST(ResidualNormOnTheDevice, IsTheCpusForwards) {
  for_row_shapes([](const PackedRows& batch, std::int64_t hidden) {
    compare_forward<TypeParam>(batch, hidden, {});
    compare_forward<TypeParam>(batch, hidden, {0.3, 99, 4, 2});
  });
}

TYPED_TEST(ResidualNormOnTheDevice, IsTheCpusBackwards) {
  for_row_shapes([](const PackedRows& batch, std::int64_t hidden) {
    for (const bool in_place : {false, true}) {
      compare_backward<TypeParam>(batch, hidden, {}, in_place);
      compare_backward<TypeParam>(batch, hidden, {0.3, 99, 4, 2}, in_place);
    }
  });
}

TEST(ResidualNormOnTheDevice, MoreRowsThanBlocksAreSharedOut) {
  // 300 rows of 1,096 columns: one row a block at a time, 264 blocks.
  const PackedRows batch({300});
  compare_backward<float>(batch, 1096, {}, false);
}

TEST(ResidualNormOnTheDevice, RefusesRowsThatAreTooWide) {
  EXPECT_ANY_THROW(residual_norm<float>(1, 4097, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, {},
                                        nullptr, nullptr, nullptr, nullptr));
}

}  // namespace
}  // namespace toller
