// The threads stand in for MPI ranks in other folders' tests, so they answer to the same expectations.
#include "comm/thread_communicator.h"

#include <gtest/gtest.h>

#include <vector>

#include "comm/collective_cases.h"

namespace toller {
namespace {

class ThreadRanks : public testing::TestWithParam<int> {};

TEST_P(ThreadRanks, Sums) {
  run_ranks(GetParam(), [](Communicator& c) {
    for (const std::size_t length : {0, 1, 5, 1000}) expect_sum<float>(c, length);
    expect_sum<double>(c, 7);
  });
}

TEST_P(ThreadRanks, Maximum) {
  run_ranks(GetParam(), expect_max);
}

TEST_P(ThreadRanks, GathersUnevenAndEmptyShares) {
  run_ranks(GetParam(), [](Communicator& c) {
    for (const auto& counts : uneven_counts(c.size())) expect_gather<float>(c, counts);
    for (const auto& counts : uneven_counts(c.size())) {
      expect_gather<std::uint16_t>(c, counts);
      expect_gather_in_place<float>(c, counts);
    }
    expect_gather<double>(c, uneven_counts(c.size()).front());
  });
}

TEST_P(ThreadRanks, ScattersSumsOfUnevenAndEmptyShares) {
  run_ranks(GetParam(), [](Communicator& c) {
    for (const auto& counts : uneven_counts(c.size())) expect_scatter<float>(c, counts);
    for (const auto& counts : uneven_counts(c.size())) expect_scatter_in_place<float>(c, counts);
    expect_scatter<double>(c, uneven_counts(c.size()).front());
  });
}

TEST_P(ThreadRanks, Broadcasts) {
  run_ranks(GetParam(), expect_broadcast);
}

INSTANTIATE_TEST_SUITE_P(Ranks, ThreadRanks, testing::Values(1, 2, 3, 4));

TEST(ThreadCommunicator, OneRanksFailureReachesTheCaller) {
  const auto body = [](Communicator& c) {
    if (c.rank() == 1) throw std::logic_error("mine");
    c.barrier();
    c.barrier();
  };
  EXPECT_THROW(run_ranks(3, body), std::logic_error);
}

}  // namespace
}  // namespace toller
