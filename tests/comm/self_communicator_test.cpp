#include <gtest/gtest.h>

#include <vector>

#include "comm/communicator.h"
#include "error.h"

namespace toller {
namespace {

using Counts = std::vector<std::int64_t>;

TEST(SelfCommunicator, GathersAndScattersByCopying) {
  SelfCommunicator self;
  const std::vector<float> in{1, 2, 3};
  std::vector<float> out(3);
  self.all_gather(std::span<const float>(in), Counts{3}, std::span(out));
  EXPECT_EQ(out, in);
  const std::vector<double> all{4, 5};
  std::vector<double> local(2);
  self.reduce_scatter_sum(std::span<const double>(all), Counts{2}, std::span(local));
  EXPECT_EQ(local, all);
}

TEST(SelfCommunicator, RefusesCountsThatDoNotFit) {
  SelfCommunicator self;
  const std::vector<float> in{1, 2, 3};
  std::vector<float> out(3);
  EXPECT_THROW(self.all_gather(std::span<const float>(in), Counts{2}, std::span(out)), Error);
  EXPECT_THROW(self.all_gather(std::span<const float>(in), Counts{3, 0}, std::span(out)), Error);
  EXPECT_THROW(self.reduce_scatter_sum(std::span<const float>(in), Counts{3}, std::span(out).first(2)),
               Error);
}

}  // namespace
}  // namespace toller
