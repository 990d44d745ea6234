#include "comm/host_tensor_communicator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "comm/ordered_bits.h"
#include "comm/tensor_collective_cases.h"
#include "comm/thread_communicator.h"
#include "error.h"

namespace toller {
namespace {

template <class T>
class HostArray {
 public:
  explicit HostArray(std::vector<T> values) : values_(std::move(values)) {}
  T* data() { return values_.data(); }
  const std::vector<T>& values() const { return values_; }

 private:
  std::vector<T> values_;
};

class HostTensors : public testing::TestWithParam<int> {};

TEST_P(HostTensors, Collectives) {
  run_ranks(GetParam(), [](Communicator& communicator) {
    HostTensorCommunicator c(communicator);
    EXPECT_EQ(c.rank(), communicator.rank());
    EXPECT_EQ(c.size(), communicator.size());
    expect_tensor_collectives<HostArray>(c);
  });
}

TEST_P(HostTensors, AMaximumKeepsNaNsOfEitherSign) {
  run_ranks(GetParam(), [](Communicator& communicator) {
    HostTensorCommunicator c(communicator);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const bool first = c.rank() == 0;
    std::vector<double> data{first ? nan : 1, first ? -nan : 1, first ? 2.0 : 1};
    c.all_reduce_max(data.data(), 3);
    EXPECT_TRUE(std::isnan(data[0]) && std::isnan(data[1])) << data[0] << " " << data[1];
    EXPECT_EQ(data[2], 2);
    float single = first ? -std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
    c.all_reduce_max(&single, 1);
    EXPECT_TRUE(std::isnan(single)) << single;
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, HostTensors, testing::Values(1, 2, 3, 4));

TEST(HostTensors, OneProcessAlone) {
  SelfCommunicator self;
  HostTensorCommunicator c(self);
  expect_tensor_collectives<HostArray>(c);
}

TEST(HostTensors, RefusesCountsThatDoNotFit) {
  SelfCommunicator self;
  HostTensorCommunicator c(self);
  float values[3] = {1, 2, 3}, all[3];
  EXPECT_THROW(c.all_gather(values, std::vector<std::int64_t>{1, 2}, all), Error);
  EXPECT_THROW(c.all_gather(values, std::vector<std::int64_t>{-3}, all), Error);
  EXPECT_THROW(c.reduce_scatter_sum(values, std::vector<std::int64_t>{}, all), Error);
}

TEST(OrderedBits, GoUpWithTheNumbers) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double ascending[] = {-infinity, -1e300, -2, -1, -5e-324, -0.0, 0.0, 5e-324, 1, 1.5, 1e300, infinity};
  for (std::size_t i = 0; i + 1 < std::size(ascending); ++i)
    EXPECT_LT(ordered_bits(ascending[i]), ordered_bits(ascending[i + 1])) << ascending[i];
  for (const double value : ascending) {
    EXPECT_EQ(from_ordered_bits(ordered_bits(value)), value);
    EXPECT_EQ(std::signbit(from_ordered_bits(ordered_bits(value))), std::signbit(value));
  }
}

}  // namespace
}  // namespace toller
