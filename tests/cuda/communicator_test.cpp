// Collectives on device memory, through the host and over NCCL, whose ranks are threads here; and what
// notices collectives that never finish.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nccl.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "comm/tensor_collective_cases.h"
#include "comm/thread_communicator.h"
#include "cuda/gpu_sharing.h"
#include "cuda/nccl_communicator.h"
#include "cuda/nccl_library.h"
#include "cuda/operation_watchdog.h"
#include "cuda/staged_communicator.h"
#include "device_array.h"
#include "error.h"

namespace toller {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Counts = std::vector<std::int64_t>;

class ComputeStream {
 public:
  ComputeStream() { check_cuda(cudaStreamCreate(&stream_), "cudaStreamCreate"); }
  ~ComputeStream() { EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess); }
  ComputeStream(const ComputeStream&) = delete;
  ComputeStream& operator=(const ComputeStream&) = delete;
  cudaStream_t get() const { return stream_; }

  /// Has all that is queued been done?
  bool is_idle() const {
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreate(&event), "cudaEventCreate");
    check_cuda(cudaEventRecord(event, stream_), "cudaEventRecord");
    const bool idle = cudaEventQuery(event) == cudaSuccess;
    check_cuda(cudaEventDestroy(event), "cudaEventDestroy");
    return idle;
  }
  void wait() const { check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

 private:
  cudaStream_t stream_ = nullptr;
};

class StagedCommunicatorRanks : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, StagedCommunicatorRanks, testing::Values(1, 2, 3, 4));

TEST_P(StagedCommunicatorRanks, Collectives) {
  run_ranks(GetParam(), [](Communicator& communicator) {
    const ComputeStream stream;
    StagedCommunicator c(communicator, stream.get());
    expect_tensor_collectives<DeviceArray>(c);
  });
}

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
      const auto halt = std::make_shared<host_cuda::Halt>();
      std::atomic<bool> released = false;
      host_cuda::hold_up(stream.get(), halt);
      std::thread computation([&] {
        std::this_thread::sleep_for(20ms);
        released = true;
        halt->release();
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

/// Ranks with a GPU each.
class NcclTest : public testing::Test {
 protected:
  NcclTest() { host_cuda::set_device_count(4); }
  ~NcclTest() override {
    host_cuda::set_nccl_faults({});
    host_cuda::set_device_count(1);
    EXPECT_EQ(host_cuda::nccl_communicators(), 0);
  }

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

  Failures failures_;
};

class NcclRanks : public NcclTest, public testing::WithParamInterface<int> {};
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
    const auto halt = std::make_shared<host_cuda::Halt>();
    DeviceArray<float> data(std::vector<float>{1, 2, 3});
    const auto c = make_nccl_communicator(communicator, stream.get(), options(communicator));
    c->all_reduce_sum(data.data(), 3);
    host_cuda::hold_up(stream.get(), halt);
    c->start_all_reduce_sum(data.data(), 3);
    std::this_thread::sleep_for(800ms);  // seen by the watchdog as a sum that does not finish
    halt->release();
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

/// A stream that goes no further.
class Watchdog : public testing::Test {
 protected:
  Watchdog() { host_cuda::hold_up(stream_.get(), halt_); }
  ~Watchdog() override { halt_->release(); }

  WatchdogOptions options() {
    return {100ms, "look around", [] { return std::string(); },
            [this](const std::string& text) {
              const std::lock_guard lock(mutex_);
              text_ = text;
            }};
  }
  std::string text() {
    const std::lock_guard lock(mutex_);
    return text_;
  }

  ComputeStream stream_;
  std::shared_ptr<host_cuda::Halt> halt_ = std::make_shared<host_cuda::Halt>();

 private:
  std::mutex mutex_;
  std::string text_;
};

TEST_F(Watchdog, NamesTheOldestOfManyOperations) {
  OperationWatchdog watchdog(options());
  for (std::int64_t i = 0; i < 1000; ++i) watchdog.watch({"all_reduce_sum", 1000000 + i}, stream_.get());
  std::this_thread::sleep_for(400ms);
  watchdog.stop();
  EXPECT_EQ(text(), "all_reduce_sum of 1,000,000 elements has not finished after 0.1 s: look around");
}

TEST_F(Watchdog, IsQuietWhenOperationsFinish) {
  OperationWatchdog watchdog(options());
  for (std::int64_t i = 0; i < 1000; ++i) watchdog.watch({"all_reduce_sum", i}, stream_.get());
  halt_->release();
  for (int i = 0; i < 20; ++i) {
    watchdog.watch({"all_gather", 7}, stream_.get());
    std::this_thread::sleep_for(15ms);
  }
  EXPECT_EQ(text(), "");
}

TEST_F(Watchdog, SeesWhatHangsBehindAFullList) {
  OperationWatchdog watchdog(options());
  for (std::int64_t i = 0; i < 1000; ++i) watchdog.watch({"all_reduce_sum", i}, nullptr);
  watchdog.watch({"all_gather", 7}, stream_.get());
  std::this_thread::sleep_for(400ms);
  watchdog.stop();
  EXPECT_EQ(text(), "all_gather of 7 elements has not finished after 0.1 s: look around");
}

TEST(NcclLibrary, ErrorsSayWhatToDo) {
  setenv("TOLLER_NCCL", "/nowhere/libnccl.so", 1);
  EXPECT_THAT(load_nccl, ThrowsMessage<Error>(AllOf(HasSubstr("NCCL was not found where TOLLER_NCCL"),
                                                    HasSubstr("/nowhere/libnccl.so"))));
  setenv("TOLLER_NCCL", "libm.so.6", 1);
  EXPECT_THAT(load_nccl,
              ThrowsMessage<Error>(HasSubstr("libm.so.6 has no function ncclGetUniqueId: install a newer")));
  unsetenv("TOLLER_NCCL");
}

}  // namespace
}  // namespace toller
