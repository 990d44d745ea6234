// Cut rows and their gradients on the device against the CPU operations in double.
#include "cuda/cut_rows.cuh"

#include <gtest/gtest.h>

#include "cuda/device_array.h"
#include "device/score_ops.h"

namespace toller {
namespace {

template <class T>
class CutRowsOnTheDevice : public testing::Test {};
TYPED_TEST_SUITE(CutRowsOnTheDevice, StorageTypes);

template <class T>
void compare(std::int64_t rows, std::int64_t dimension, std::int64_t kept, bool normalize) {
  SCOPED_TRACE(testing::Message() << rows << " × " << dimension << " cut to " << kept << ", " << normalize);
  auto x = random_numbers<T>(rows * dimension, 1);
  const auto d_cut = random_numbers<float>(rows * kept, 2), dx = random_numbers<float>(rows * dimension, 3);
  std::fill_n(x.begin() + (rows - 1) * dimension, kept, 0.0);  // the last row is zero where it stays
  auto device_x = on_device<T>(x);
  auto device_d_cut = on_device<float>(d_cut), device_dx = on_device<float>(dx);
  DeviceArray<T> cut(rows * kept);
  DeviceArray<float> norm(rows);
  float* norms = normalize ? norm.data() : nullptr;
  cut_rows<T>(rows, dimension, kept, device_x.data(), norms, cut.data(), nullptr);
  add_cut_gradient<T>(rows, dimension, kept, device_x.data(), norms, device_d_cut.data(), device_dx.data(),
                      nullptr);

  const auto cpu = make_cpu_score_ops<double>();
  std::vector<double> reference(rows * kept), reference_norm(rows), reference_dx = dx;
  double* reference_norms = normalize ? reference_norm.data() : nullptr;
  cpu->cut_rows(rows, dimension, kept, x.data(), reference_norms, reference.data());
  cpu->add_cut_gradient(rows, dimension, kept, x.data(), reference_norms, d_cut.data(), reference_dx.data());
  expect_near<T>(cut.doubles(), reference, "cut");
  if (normalize) expect_near<float>(norm.doubles(), reference_norm, "norm");
  expect_near<float>(device_dx.doubles(), reference_dx, "dx");
}

TYPED_TEST(CutRowsOnTheDevice, AreTheCpus) {
  in_both_thread_orders([] {
    for (const std::int64_t rows : {1, 2, 9}) {
      for (const auto& [dimension, kept] : {std::pair{1, 1}, {12, 5}, {65, 33}, {128, 128}, {384, 64}}) {
        for (const bool normalize : {false, true}) compare<TypeParam>(rows, dimension, kept, normalize);
      }
    }
  });
}

TYPED_TEST(CutRowsOnTheDevice, KeepNaN) {
  auto x = on_device<TypeParam>({1, std::numeric_limits<double>::quiet_NaN(), 2, 3});
  DeviceArray<float> norm(2);
  DeviceArray<TypeParam> cut(2);
  cut_rows<TypeParam>(2, 2, 1, x.data(), norm.data(), cut.data(), nullptr);
  EXPECT_EQ(cut.doubles(), (std::vector<double>{1, 1})) << "what is cut away does not matter";
  DeviceArray<TypeParam> all(4);
  cut_rows<TypeParam>(2, 2, 2, x.data(), norm.data(), all.data(), nullptr);
  EXPECT_TRUE(std::isnan(all.doubles()[0]));
  EXPECT_FALSE(std::isnan(all.doubles()[2]));
}

}  // namespace
}  // namespace toller
