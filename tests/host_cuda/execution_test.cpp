// The execution model: what CUDA promises works, what it forbids is an error.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "cuda/launch.cuh"
#include "error.h"

namespace toller {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

/// Device memory that starts as a copy of host memory.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(const std::vector<T>& values) : size_(values.size()) {
    check_cuda(cudaMalloc(&data_, size_ * sizeof(T)), "cudaMalloc");
    check_cuda(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  ~OnDevice() { cudaFree(data_); }
  T* data() { return data_; }
  std::vector<T> back() const {
    std::vector<T> values(size_);
    check_cuda(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return values;
  }

 private:
  std::size_t size_;
  T* data_ = nullptr;
};

__global__ void number_threads(int* numbers) {
  const unsigned rank = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  atomicAdd(&numbers[block * blockDim.x * blockDim.y * blockDim.z + rank], static_cast<int>(rank + 1));
}

TEST(Grid, RunsEveryThreadOnce) {
  OnDevice<int> numbers(std::vector<int>(2 * 3 * 4 * 5 * 3 * 2));
  launch<number_threads>(dim3(2, 3, 4), dim3(5, 3, 2), 0, nullptr, numbers.data());
  const std::vector<int> seen = numbers.back();
  for (std::size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], static_cast<int>(i % 30 + 1));
}

/// Reverses a block's values through shared memory, then sums neighbours in it.
__global__ void reverse_and_add(const int* x, int* y) {
  __shared__ int fixed[96];
  int* dynamic = dynamic_shared<int>();
  const unsigned i = threadIdx.x, n = blockDim.x;
  fixed[i] = x[blockIdx.x * n + i];
  __syncthreads();
  dynamic[i] = fixed[n - 1 - i];
  __syncthreads();
  y[blockIdx.x * n + i] = dynamic[i] + dynamic[(i + 1) % n];
}

TEST(SharedMemory, IsSeenByTheWholeBlockAfterABarrier) {
  std::vector<int> values(2 * 96);
  std::iota(values.begin(), values.end(), 0);
  for (const auto order : {host_cuda::ThreadOrder::kAscending, host_cuda::ThreadOrder::kDescending}) {
    host_cuda::set_thread_order(order);
    OnDevice<int> x(values), y(std::vector<int>(values.size(), -1));
    launch<reverse_and_add>(2, 96, 96 * sizeof(int), nullptr, x.data(), y.data());
    const std::vector<int> result = y.back();
    for (int i = 0; i < 96; ++i) {
      EXPECT_EQ(result[i], 95 - i + 95 - (i + 1) % 96);
      EXPECT_EQ(result[96 + i], 2 * 96 + 95 - i + 95 - (i + 1) % 96);
    }
  }
  host_cuda::set_thread_order(host_cuda::ThreadOrder::kAscending);
}

__global__ void forget_the_barrier(int* y) {
  int* dynamic = dynamic_shared<int>();
  dynamic[threadIdx.x] = static_cast<int>(threadIdx.x);
  y[threadIdx.x] = dynamic[threadIdx.x / 2];
}

TEST(SharedMemory, AForgottenBarrierShowsInOneOfTheThreadOrders) {
  bool differs = false;
  for (const auto order : {host_cuda::ThreadOrder::kAscending, host_cuda::ThreadOrder::kDescending}) {
    host_cuda::set_thread_order(order);
    OnDevice<int> y(std::vector<int>(64, -1));
    launch<forget_the_barrier>(1, 64, 64 * sizeof(int), nullptr, y.data());
    for (int i = 0; i < 64; ++i) differs = differs || y.back()[i] != i / 2;
  }
  host_cuda::set_thread_order(host_cuda::ThreadOrder::kAscending);
  EXPECT_TRUE(differs);
}

/// Sums of a block twice through the same shared memory, with nothing between the first's read and the
/// second's write.
__global__ void forget_the_second_barrier(int* y) {
  __shared__ int parts[4];
  for (int round = 0; round < 2; ++round) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = round;
    __syncthreads();
    y[2 * threadIdx.x + round] = parts[0] + parts[1] + parts[2] + parts[3];
  }
}

TEST(SharedMemory, AWriteThatOvertakesAReadShowsInTheDescendingOrder) {
  host_cuda::set_thread_order(host_cuda::ThreadOrder::kDescending);
  OnDevice<int> y(std::vector<int>(2 * 128, -1));
  launch<forget_the_second_barrier>(1, 128, 0, nullptr, y.data());
  host_cuda::set_thread_order(host_cuda::ThreadOrder::kAscending);
  bool differs = false;
  for (int i = 0; i < 256; ++i) differs = differs || y.back()[i] != 4 * (i % 2);
  EXPECT_TRUE(differs);
}

__global__ void poisoned(unsigned* y) {
  y[blockIdx.x] = *dynamic_shared<unsigned>();
  *dynamic_shared<unsigned>() = 0;
}

TEST(SharedMemory, IsPoisonedBeforeEveryBlock) {
  OnDevice<unsigned> y({0, 0});
  launch<poisoned>(2, 1, 4, nullptr, y.data());
  EXPECT_EQ(y.back(), (std::vector<unsigned>{0xFFFFFFFFu, 0xFFFFFFFFu}));
}

__global__ void shuffles(const float* x, float* y) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const float value = x[threadIdx.x];
  float* out = y + threadIdx.x * 8;
  out[0] = __shfl_sync(0xFFFFFFFFu, value, 5);
  out[1] = __shfl_sync(0xFFFFFFFFu, value, lane + 1, 8);
  out[2] = __shfl_xor_sync(0xFFFFFFFFu, value, 16);
  out[3] = __shfl_down_sync(0xFFFFFFFFu, value, 3);
  out[4] = __shfl_up_sync(0xFFFFFFFFu, value, 3, 16);
  out[5] = static_cast<float>(__popc(__ballot_sync(0xFFFFFFFFu, lane % 3 == 0)));
  out[6] = lane < 8 ? __shfl_sync(0xFFu, value, 7) : __shfl_sync(0xFFFFFF00u, value, 31);
  out[7] = static_cast<float>(2 * __any_sync(0xFFFFFFFFu, value == 33) + __all_sync(0xFFFFFFFFu, value < 32));
}

TEST(Warp, ShufflesAndVotesFollowTheManual) {
  std::vector<float> values(64);
  std::iota(values.begin(), values.end(), 0.0f);
  OnDevice<float> x(values), y(std::vector<float>(64 * 8));
  launch<shuffles>(1, 64, 0, nullptr, x.data(), y.data());
  const std::vector<float> result = y.back();
  for (int thread = 0; thread < 64; ++thread) {
    const int lane = thread % 32, base = thread - lane;
    const float* out = result.data() + thread * 8;
    EXPECT_EQ(out[0], base + 5);
    EXPECT_EQ(out[1], base + lane / 8 * 8 + (lane + 1) % 8);
    EXPECT_EQ(out[2], base + (lane ^ 16));
    EXPECT_EQ(out[3], lane + 3 < 32 ? thread + 3 : thread);
    EXPECT_EQ(out[4], lane % 16 >= 3 ? thread - 3 : thread);
    EXPECT_EQ(out[5], 11);
    EXPECT_EQ(out[6], base + (lane < 8 ? 7 : 31));
    EXPECT_EQ(out[7], base == 0 ? 1 : 2);
  }
}

__global__ void count_votes(int* y) {
  const int i = static_cast<int>(threadIdx.x);
  y[3 * i] = __syncthreads_count(i % 5 == 0);
  y[3 * i + 1] = __syncthreads_or(i == 63);
  y[3 * i + 2] = __syncthreads_and(i != 63);
}

TEST(Barrier, CountsVotes) {
  OnDevice<int> y(std::vector<int>(3 * 64));
  launch<count_votes>(1, 64, 0, nullptr, y.data());
  const std::vector<int> result = y.back();
  for (int i = 0; i < 64; ++i) {
    EXPECT_EQ(result[3 * i], 13);
    EXPECT_EQ(result[3 * i + 1], 1);
    EXPECT_EQ(result[3 * i + 2], 0);
  }
}

__global__ void atomics(int* y) {
  atomicAdd(&y[0], 2);
  atomicMax(&y[1], static_cast<int>(threadIdx.x));
  atomicMin(&y[2], static_cast<int>(threadIdx.x));
  int seen = y[3];
  while (true) {
    const int before = atomicCAS(&y[3], seen, seen + 3);
    if (before == seen) break;
    seen = before;
  }
}

TEST(Atomics, AddUpOverBlocks) {
  OnDevice<int> y({1, -5, 7, 0});
  launch<atomics>(3, 32, 0, nullptr, y.data());
  EXPECT_EQ(y.back(), (std::vector<int>{1 + 2 * 96, 31, 0, 3 * 96}));
}

__global__ void leave_before_the_barrier() {
  if (threadIdx.x == 7) return;
  __syncthreads();
}
__global__ void part_at_the_barrier() {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void leave_before_the_shuffle(float* y) {
  if (threadIdx.x % 32 == 31) return;
  y[threadIdx.x] = __shfl_xor_sync(0xFFFFFFFFu, 1.0f, 1);
}
__global__ void barrier_against_shuffle() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncwarp(threadIdx.x < 48 ? 0xFFFFFFFFu : 0xFFFF0000u);
  }
}
__global__ void lane_out_of_mask() {
  __syncwarp(0xFFFEu);
}
__global__ void source_out_of_mask(float* y) {
  if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0xFFFFu, 1.0f, 20);
}

TEST(Divergence, IsAnErrorThatNamesKernelBlockAndThread) {
  OnDevice<float> y(std::vector<float>(64));
  EXPECT_THAT([] { launch<leave_before_the_barrier>(2, 32, 0, nullptr); },
              ThrowsMessage<host_cuda::Error>(AllOf(
                  HasSubstr("leave_before_the_barrier, block (0, 0, 0)"), HasSubstr("__syncthreads"),
                  HasSubstr("execution_test.cpp:"), HasSubstr("thread (7, 0, 0) has left the kernel"))));
  EXPECT_THAT([] { launch<part_at_the_barrier>(1, 32, 0, nullptr); },
              ThrowsMessage<host_cuda::Error>(AllOf(HasSubstr("part_at_the_barrier"),
                                                    HasSubstr("thread (0, 0, 0) waits at __syncthreads"))));
  EXPECT_THAT([&] { launch<leave_before_the_shuffle>(1, 64, 0, nullptr, y.data()); },
              ThrowsMessage<host_cuda::Error>(
                  AllOf(HasSubstr("__shfl_xor_sync"), HasSubstr("thread (31, 0, 0) has left the kernel"))));
  EXPECT_THAT([] { launch<barrier_against_shuffle>(1, 64, 0, nullptr); },
              ThrowsMessage<host_cuda::Error>(
                  AllOf(HasSubstr("thread (0, 0, 0) waits at __syncthreads"),
                        HasSubstr("thread (32, 0, 0) waits at __syncwarp with mask ffffffff"))));
  EXPECT_THAT(
      [] { launch<lane_out_of_mask>(1, 32, 0, nullptr); },
      ThrowsMessage<host_cuda::Error>(HasSubstr("thread (0, 0, 0): __syncwarp: this lane is not in")));
  EXPECT_THAT([&] { launch<source_out_of_mask>(1, 32, 0, nullptr, y.data()); },
              ThrowsMessage<host_cuda::Error>(HasSubstr("reads lane 20, which is not in the mask")));
  // The next launch finds everything in order.
  OnDevice<int> votes(std::vector<int>(3 * 64));
  launch<count_votes>(1, 64, 0, nullptr, votes.data());
  EXPECT_EQ(votes.back()[0], 13);
}

__global__ void nothing() {}
__global__ void much_shared(unsigned* y) {
  y[0] = dynamic_shared<unsigned>()[25'000];
}

TEST(Limits, LaunchesBeyondThemFailAsCudaSays) {
  const auto says = [](const char* text) {
    return ThrowsMessage<Error>(AllOf(HasSubstr("nothing"), HasSubstr(text)));
  };
  EXPECT_THAT([] { launch<nothing>(1, 1025, 0, nullptr); }, says("cudaErrorInvalidConfiguration"));
  EXPECT_THAT([] { launch<nothing>(1, dim3(1, 1, 65), 0, nullptr); }, says("cudaErrorInvalidConfiguration"));
  EXPECT_THAT([] { launch<nothing>(0, 32, 0, nullptr); }, says("cudaErrorInvalidConfiguration"));
  EXPECT_THAT([] { launch<nothing>(dim3(1, 65536), 32, 0, nullptr); }, says("cudaErrorInvalidConfiguration"));
  EXPECT_THAT([] { launch<nothing>(1, 32, 49153, nullptr); }, says("cudaErrorInvalidValue"));
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  launch<nothing>(1, 1024, 49152, nullptr);
  OnDevice<unsigned> y({0});
  EXPECT_THROW(launch<much_shared>(1, 1, 100'004, nullptr, y.data()), Error);
  allow_shared_memory<much_shared>(100'004);
  launch<much_shared>(1, 1, 100'004, nullptr, y.data());
  EXPECT_EQ(y.back()[0], 0xFFFFFFFFu);
  EXPECT_THROW(allow_shared_memory<much_shared>(163 * 1024 + 1), Error);
}

}  // namespace
}  // namespace toller
