// Collectives on device memory through the host, whose ranks are threads here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "comm/tensor_collective_cases.h"
#include "comm/thread_communicator.h"
#include "cuda/compute_stream.h"
#include "cuda/device_array.h"
#include "cuda/staged_communicator.h"
#include "error.h"

namespace toller {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using namespace std::chrono_literals;
using Counts = std::vector<std::int64_t>;

class StagedCommunicatorRanks : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, StagedCommunicatorRanks, testing::Values(1, 2, 3, 4));

TEST_P(StagedCommunicatorRanks, Collectives) {
  run_ranks(GetParam(), [](Communicator& communicator) {
    const ComputeStream stream;
    StagedCommunicator c(communicator, stream.get());
    expect_tensor_collectives<DeviceArray>(c);
  });
}

TEST(StagedCommunicator, WaitsForWhatIsQueuedBefore) {
  run_ranks(2, [](Communicator& communicator) {
    const ComputeStream stream;
    StagedCommunicator c(communicator, stream.get());
    DeviceArray<float> data(std::vector<float>{1, 2}), all(4);
    const std::vector<std::function<void()>> collectives{
        [&] {
          c.all_gather(static_cast<const float*>(data.data()), Counts{2, 2}, all.data());
        },
        [&] {
          c.reduce_scatter_sum(all.data(), Counts{2, 2}, data.data());
        },
        [&] { c.start_all_reduce_sum(data.data(), 2); }};
    for (const auto& collective : collectives) {
      std::atomic<bool> released = false;
      HeldStream held(stream.get());
      std::thread computation([&] {
        std::this_thread::sleep_for(20ms);
        released = true;
        held.release();
      });
      collective();
      EXPECT_TRUE(released);
      computation.join();
    }
  });
}

TEST(StagedCommunicator, ErrorsNameRankAndOperation) {
  run_ranks(2, [](Communicator& communicator) {
    const ComputeStream stream;
    StagedCommunicator c(communicator, stream.get());
    float host = 0;
    EXPECT_THAT([&] { c.all_reduce_sum(&host, 1); },
                ThrowsMessage<Error>(HasSubstr(
                    fmt::format("all_reduce_sum failed on rank {} of 2: invalid argument", c.rank()))));
  });
}

#if defined(HOST_CUDA)  // which counts allocations and waits

TEST(StagedCommunicator, OneProcessAloneNeverWaits) {
  SelfCommunicator self;
  const ComputeStream stream;
  StagedCommunicator c(self, stream.get());
  DeviceArray<float> local(std::vector<float>{1, 2, 3}), all(3);
  const auto before = host_cuda::call_counts();
  c.all_gather(static_cast<const float*>(local.data()), Counts{3}, all.data());
  c.all_reduce_sum(all.data(), 3);
  c.start_all_reduce_sum(all.data(), 3);
  c.finish_sums();
  EXPECT_EQ(host_cuda::call_counts(), before);
  EXPECT_EQ(all.values(), (std::vector<float>{1, 2, 3}));
  expect_tensor_collectives<DeviceArray>(c);
}

TEST(StagedCommunicator, KeepsItsHostMemory) {
  run_ranks(2, [](Communicator& communicator) {
    const ComputeStream stream;
    StagedCommunicator c(communicator, stream.get());
    DeviceArray<float> data(std::vector<float>(1000, 1));
    c.all_reduce_sum(data.data(), 1000);
    communicator.barrier();
    const auto before = host_cuda::call_counts();
    communicator.barrier();
    c.all_reduce_max(data.data(), 1000);
    c.start_all_reduce_sum(data.data(), 500);
    communicator.barrier();
    EXPECT_EQ(host_cuda::call_counts().allocations, before.allocations);
    communicator.barrier();
  });
}

#endif

}  // namespace
}  // namespace toller
