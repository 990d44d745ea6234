// Column sums against the bias gradient of the CPU's linear layer.
#include "cuda/column_sums.cuh"

#include <gtest/gtest.h>

#include "cuda/device_array.h"
#include "device/ops.h"

namespace toller {
namespace {

template <class T>
class ColumnSumsOnTheDevice : public testing::Test {};
TYPED_TEST_SUITE(ColumnSumsOnTheDevice, StorageTypes);

template <class T>
void compare(std::int64_t rows, std::int64_t columns) {
  SCOPED_TRACE(testing::Message() << rows << " × " << columns);
  const auto x = random_numbers<T>(rows * columns, 1);
  auto sums = random_numbers<float>(columns, 2);
  auto device_x = on_device<T>(x);
  auto device_sums = on_device<float>(sums);
  DeviceArray<float> workspace(column_sums_workspace(rows, columns));
  column_sums<T>(rows, columns, device_x.data(), device_sums.data(), workspace.data(), nullptr);

  const std::vector<double> no_input(rows);
  std::vector<double> no_weight(columns);
  make_cpu_ops<double>()->linear_backward_parameters(rows, 1, columns, x.data(), no_input.data(),
                                                     no_weight.data(), sums.data());
  expect_near<float>(device_sums.doubles(), sums, "sums");
}

TYPED_TEST(ColumnSumsOnTheDevice, AreTheCpus) {
  in_both_thread_orders([] {
    for (const std::int64_t rows : {1, 7, 64, 65, 200}) {
      for (const std::int64_t columns : {1, 8, 12, 33, 256, 264}) compare<TypeParam>(rows, columns);
    }
    compare<TypeParam>(9000, 40);  // chunks of more than 64 rows
  });
}

}  // namespace
}  // namespace toller
