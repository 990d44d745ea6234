// Collectives on device memory over NCCL, whose ranks are threads here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nccl.h>

#include <array>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "comm/tensor_collective_cases.h"
#include "comm/thread_communicator.h"
#include "cuda/compute_stream.h"
#include "cuda/device_array.h"
#include "cuda/gpu_sharing.h"
#include "cuda/nccl_communicator.h"
#include "cuda/nccl_library.h"
#include "environment_variable.h"
#include "error.h"

namespace toller {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Counts = std::vector<std::int64_t>;

/// Ranks with a GPU each.
class NcclTest : public testing::Test {
 protected:
#if defined(HOST_CUDA)
  ~NcclTest() override {
    host_cuda::set_nccl_faults({});
    EXPECT_EQ(host_cuda::nccl_communicators(), 0);
  }
#endif

  /// What the watchdogs have said, rank by rank.
  struct Failures {
    std::mutex mutex;
    std::vector<std::string> texts = std::vector<std::string>(4);
  };

  static void run(int ranks, const std::function<void(Communicator&)>& body) {
    run_ranks(ranks, [&](Communicator& communicator) {
      check_cuda(cudaSetDevice(communicator.rank()), "cudaSetDevice");
      body(communicator);
    });
  }
  NcclOptions options(Communicator& communicator, std::chrono::milliseconds time_out = 500ms) {
    const auto rank = static_cast<std::size_t>(communicator.rank());
    return {time_out, [this, rank](const std::string& text) {
              const std::lock_guard lock(failures_.mutex);
              EXPECT_EQ(failures_.texts[rank], "") << "told twice";
              failures_.texts[rank] = text;
            }};
  }

  const Gpus gpus_{4};
  Failures failures_;
};

class NcclRanks : public NcclTest, public testing::WithParamInterface<int> {
 protected:
  void SetUp() override {
    if (GetParam() > gpu_count()) GTEST_SKIP() << "wants " << GetParam() << " GPUs";
    if (const std::string reason = why_no_nccl(); !reason.empty()) GTEST_SKIP() << reason;
  }
};
INSTANTIATE_TEST_SUITE_P(Ranks, NcclRanks, testing::Values(1, 2, 3, 4));

TEST_P(NcclRanks, Collectives) {
  run(GetParam(), [&](Communicator& communicator) {
    const ComputeStream stream;
    const auto c = make_nccl_communicator(communicator, stream.get(), options(communicator, 20s));
    EXPECT_EQ(c->rank(), communicator.rank());
    EXPECT_EQ(c->size(), communicator.size());
    expect_tensor_collectives<DeviceArray>(*c);
  });
  EXPECT_EQ(failures_.texts, std::vector<std::string>(4));
}

#if defined(HOST_CUDA)  // which counts, and has faults on demand

TEST_P(NcclRanks, AllocateNothingAndWaitForNothingOnceConnected) {
  run(GetParam(), [&](Communicator& communicator) {
    const ComputeStream stream;
    const auto c = make_nccl_communicator(communicator, stream.get(), options(communicator, 20s));
    const auto size = static_cast<std::size_t>(c->size());
    Counts equal(size, 5), uneven(size, 3);
    uneven[0] = 7;
    DeviceArray<float> local(7), all(5 * 7);
    c->all_reduce_sum(all.data(), 35);
    communicator.barrier();
    const auto before = host_cuda::call_counts();
    communicator.barrier();
    for (int i = 0; i < 10; ++i) {
      for (const Counts& counts : {equal, uneven}) {
        c->all_gather(static_cast<const float*>(local.data()), counts, all.data());
        c->reduce_scatter_sum(all.data(), counts, local.data());
      }
      c->all_reduce_max(all.data(), 35);
      c->start_all_reduce_sum(all.data(), 35);
      c->finish_sums();
    }
    communicator.barrier();
    EXPECT_EQ(host_cuda::call_counts(), before);
    communicator.barrier();
  });
}

TEST_F(NcclTest, ComputationWaitsForCollectivesAndNotForStartedSums) {
  host_cuda::set_nccl_faults({.hanging_rank = 0});
  run(2, [&](Communicator& communicator) {
    const ComputeStream first, second;
    DeviceArray<float> data(std::vector<float>{1, 2, 3});
    {
      const auto c = make_nccl_communicator(communicator, first.get(), options(communicator));
      c->start_all_reduce_sum(data.data() + 1, 2);
      EXPECT_TRUE(first.is_idle());
      c->finish_sums();
      EXPECT_FALSE(first.is_idle());
    }
    failures_.texts[static_cast<std::size_t>(communicator.rank())].clear();
    communicator.barrier();
    const auto c = make_nccl_communicator(communicator, second.get(), options(communicator));
    c->all_reduce_max(data.data(), 3);
    EXPECT_FALSE(second.is_idle());
  });
}

TEST_F(NcclTest, CollectivesWaitForComputation) {
  run(2, [&](Communicator& communicator) {
    const ComputeStream stream;
    DeviceArray<float> data(std::vector<float>{1, 2, 3});
    const auto c = make_nccl_communicator(communicator, stream.get(), options(communicator));
    c->all_reduce_sum(data.data(), 3);
    HeldStream held(stream.get());
    c->start_all_reduce_sum(data.data(), 3);
    std::this_thread::sleep_for(800ms);  // seen by the watchdog as a sum that does not finish
    held.release();
  });
  EXPECT_THAT(failures_.texts[0], HasSubstr("all_reduce_sum of 3 elements has not finished"));
  EXPECT_THAT(failures_.texts[1], HasSubstr("all_reduce_sum of 3 elements has not finished"));
}

TEST_F(NcclTest, WhatHangsIsReportedAndEnded) {
  host_cuda::set_nccl_faults({.hanging_rank = 1});
  run(3, [&](Communicator& communicator) {
    const ComputeStream stream;
    const auto begin = Clock::now();
    const auto c = make_nccl_communicator(communicator, stream.get(), options(communicator));
    DeviceArray<float> local(2000), all(3600);
    c->all_gather(static_cast<const float*>(local.data()), Counts{1000, 600, 2000}, all.data());
    stream.wait();
    EXPECT_LT(Clock::now() - begin, 10s);
    EXPECT_THAT([&] { c->all_reduce_sum(all.data(), 3); },
                ThrowsMessage<Error>(HasSubstr("all_gather of 3,600 elements has not finished")));
  });
  for (std::size_t r = 0; r < 3; ++r) {
    EXPECT_THAT(failures_.texts[r],
                AllOf(HasSubstr(fmt::format(
                          "rank {} of 3: all_gather of 3,600 elements has not finished after 0.5 s: ", r)),
                      HasSubstr("--communicator mpi")));
  }
}

TEST_F(NcclTest, AnObjectWithACollectiveThatHangsCanBeDestroyed) {
  host_cuda::set_nccl_faults({.hanging_rank = 1});
  run(2, [&](Communicator& communicator) {
    const ComputeStream stream;
    DeviceArray<double> data(10);
    const auto begin = Clock::now();
    make_nccl_communicator(communicator, stream.get(), options(communicator))
        ->start_all_reduce_sum(data.data(), 10);
    EXPECT_LT(Clock::now() - begin, 10s);
  });
  EXPECT_THAT(failures_.texts[0], HasSubstr("rank 0 of 2: all_reduce_sum of 10 elements"));
}

TEST_F(NcclTest, AnExceptionDoesNotWaitForWhatHangs) {
  host_cuda::set_nccl_faults({.hanging_rank = 1});
  const auto begin = Clock::now();
  const auto body = [&](Communicator& communicator) {
    const ComputeStream stream;
    DeviceArray<float> data(10);
    const auto c = make_nccl_communicator(communicator, stream.get(), options(communicator, 60s));
    c->all_reduce_sum(data.data(), 10);
    throw std::logic_error("mine");
  };
  EXPECT_THROW(run(2, body), std::logic_error);
  EXPECT_LT(Clock::now() - begin, 10s);
  EXPECT_EQ(failures_.texts, std::vector<std::string>(4));
}

TEST_F(NcclTest, AsynchronousErrorsAreReported) {
  host_cuda::set_nccl_faults({.failing_rank = 1});
  run(2, [&](Communicator& communicator) {
    const ComputeStream stream;
    const auto c = make_nccl_communicator(communicator, stream.get(), options(communicator, 60s));
    DeviceArray<float> data(1234567);
    const auto begin = Clock::now();
    c->start_all_reduce_sum(data.data(), 1234567);
    c->finish_sums();
    stream.wait();
    EXPECT_LT(Clock::now() - begin, 10s);
    EXPECT_THAT(
        [&] { c->all_reduce_max(data.data(), 3); },
        ThrowsMessage<Error>(HasSubstr(fmt::format("rank {} of 2: all_reduce_sum of 1,234,567", c->rank()))));
  });
  EXPECT_THAT(failures_.texts[0],
              HasSubstr("rank 0 of 2: all_reduce_sum of 1,234,567 elements failed: remote"));
  EXPECT_THAT(failures_.texts[1],
              HasSubstr("rank 1 of 2: all_reduce_sum of 1,234,567 elements failed: unhandled system error"));
}

TEST_F(NcclTest, ErrorsOfCallsNameRankAndOperation) {
  const auto body = [&](Communicator& communicator) {
    const ComputeStream stream;
    const auto c = make_nccl_communicator(communicator, stream.get(), options(communicator, 20s));
    float host[5] = {};
    c->all_reduce_sum(host, communicator.rank() == 1 ? 5 : 0);
  };
  EXPECT_THAT([&] { run(2, body); },
              ThrowsMessage<Error>(HasSubstr(
                  "rank 1 of 2: all_reduce_sum of 5 elements failed: invalid argument (the send buffer")));
  const auto differ = [&](Communicator& communicator) {
    const ComputeStream stream;
    const auto c = make_nccl_communicator(communicator, stream.get(), options(communicator, 20s));
    DeviceArray<float> data(5);
    c->all_reduce_sum(data.data(), communicator.rank() + 1);
  };
  EXPECT_THAT([&] { run(2, differ); }, ThrowsMessage<Error>(HasSubstr("the ranks ask for different")));
}

TEST_F(NcclTest, RanksThatDoNotConnectAreAnError) {
  run(2, [&](Communicator& communicator) {
    if (communicator.rank() == 0) {
      const auto connect = [&] { make_nccl_communicator(communicator, nullptr, options(communicator)); };
      EXPECT_THAT(connect, ThrowsMessage<Error>(HasSubstr(
                               "rank 0 of 2: connecting the ranks has not finished after 0.5 s: ")));
    } else {  // goes along and stays away from NCCL itself
      shared_gpu(communicator);
      std::array<std::uint8_t, NCCL_UNIQUE_ID_BYTES> id;
      communicator.broadcast(id, 0);
    }
  });
}

TEST_F(NcclTest, RanksThatShareAGpuAreToldSo) {
  run_ranks(3, [&](Communicator& communicator) {
    check_cuda(cudaSetDevice(communicator.rank() == 1 ? 3 : 2), "cudaSetDevice");
    EXPECT_THAT([&] { make_nccl_communicator(communicator, nullptr, options(communicator)); },
                ThrowsMessage<Error>(AllOf(HasSubstr("ranks 0 and 2 share the GPU 0000:19:00.0 of "),
                                           HasSubstr("as many ranks as there are GPUs"),
                                           HasSubstr("--communicator mpi"))));
  });
}

#endif

TEST(NcclLibrary, ErrorsSayWhatToDo) {
  {
    const EnvironmentVariable name("TOLLER_NCCL", "/nowhere/libnccl.so");
    EXPECT_THAT(load_nccl, ThrowsMessage<Error>(AllOf(HasSubstr("NCCL was not found where TOLLER_NCCL"),
                                                      HasSubstr("/nowhere/libnccl.so"))));
  }
  const EnvironmentVariable name("TOLLER_NCCL", "libm.so.6");
  EXPECT_THAT(load_nccl,
              ThrowsMessage<Error>(HasSubstr("libm.so.6 has no function ncclGetUniqueId: install a newer")));
}

}  // namespace
}  // namespace toller
