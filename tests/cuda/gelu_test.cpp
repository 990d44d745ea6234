// Bias and GELU against the CPU's linear layer with the identity for a weight. pre is rounded once; y is held
// against the GELU of the rounded pre.
#include "cuda/gelu.cuh"

#include <gtest/gtest.h>

#include "cuda/device_array.h"
#include "device/ops.h"

namespace toller {
namespace {

std::vector<double> identity(std::int64_t n) {
  std::vector<double> w(n * n);
  for (std::int64_t i = 0; i < n; ++i) w[i * n + i] = 1;
  return w;
}

struct Shape {
  std::int64_t rows, columns;
};
const std::vector<Shape> kShapes = {{1, 1}, {1, 64}, {3, 12}, {9, 100}, {70, 33}, {13, 384}};

template <class T>
class GeluOnTheDevice : public testing::Test {};
TYPED_TEST_SUITE(GeluOnTheDevice, StorageTypes);

template <class T>
void compare_forward(std::int64_t rows, std::int64_t columns, bool with_bias) {
  const std::int64_t n = rows * columns;
  auto x = random_numbers<T>(n, 1);
  for (double& value : x) value = rounded<T>({3 * value})[0];
  const auto bias = random_numbers<T>(columns, 2), w = identity(columns);
  auto device_x = on_device<T>(x), device_bias = on_device<T>(bias);
  DeviceArray<T> pre(n), y(n);
  bias_gelu<T>(rows, columns, device_x.data(), with_bias ? device_bias.data() : nullptr, pre.data(), y.data(),
               nullptr);

  const auto cpu = make_cpu_ops<double>();
  std::vector<double> reference_pre(n), reference_y(n);
  cpu->linear_gelu(rows, columns, columns, x.data(), w.data(), with_bias ? bias.data() : nullptr,
                   reference_pre.data(), reference_y.data());
  expect_near<T>(pre.doubles(), reference_pre, "pre");
  cpu->linear_gelu(rows, columns, columns, pre.doubles().data(), w.data(), nullptr, reference_pre.data(),
                   reference_y.data());
  expect_near<T>(y.doubles(), reference_y, "y");
}

template <class T>
void compare_backward(std::int64_t rows, std::int64_t columns) {
  const std::int64_t n = rows * columns;
  const auto pre = random_numbers<T>(n, 1), dy = random_numbers<T>(n, 2), w = identity(columns);
  auto device_pre = on_device<T>(pre), d = on_device<T>(dy);
  gelu_backward<T>(n, device_pre.data(), d.data(), nullptr);
  std::vector<double> reference(n);
  make_cpu_ops<double>()->linear_gelu_backward_input(rows, columns, columns, dy.data(), w.data(), pre.data(),
                                                     reference.data());
  expect_near<T>(d.doubles(), reference, "dpre");
}

TYPED_TEST(GeluOnTheDevice, IsTheCpus) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message() << shape.rows << " × " << shape.columns);
    for (const bool with_bias : {false, true})
      compare_forward<TypeParam>(shape.rows, shape.columns, with_bias);
    compare_backward<TypeParam>(shape.rows, shape.columns);
  }
}

TYPED_TEST(GeluOnTheDevice, WorksInPlaceAndFarOut) {
  using T = TypeParam;
  auto x = on_device<T>({-60, -9, -4, -0.5, 0, 0.5, 4, 60});
  DeviceArray<T> y(8);
  bias_gelu<T>(1, 8, x.data(), nullptr, x.data(), y.data(), nullptr);
  EXPECT_EQ(x.doubles(), (std::vector<double>{-60, -9, -4, -0.5, 0, 0.5, 4, 60}));
  const std::vector<double> result = y.doubles();
  EXPECT_EQ(result[0], 0);
  EXPECT_EQ(result[4], 0);
  EXPECT_EQ(result[7], 60);
}

}  // namespace
}  // namespace toller
