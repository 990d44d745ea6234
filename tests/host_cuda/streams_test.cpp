// Devices, streams that are held up, and the counts of calls.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>

#include "cuda/launch.cuh"

namespace toller {
namespace {

TEST(Streams, HoldUpWhatWaitsForThem) {
  cudaStream_t first = nullptr, second = nullptr;
  cudaEvent_t event = nullptr;
  ASSERT_EQ(cudaStreamCreate(&first), cudaSuccess);
  ASSERT_EQ(cudaStreamCreate(&second), cudaSuccess);
  ASSERT_EQ(cudaEventCreate(&event), cudaSuccess);
  const auto ready = [&](cudaStream_t stream) {
    EXPECT_EQ(cudaEventRecord(event, stream), cudaSuccess);
    return cudaEventQuery(event) == cudaSuccess;
  };
  const auto halt = std::make_shared<host_cuda::Halt>();
  host_cuda::hold_up(first, halt);
  EXPECT_TRUE(ready(second));
  EXPECT_FALSE(ready(first));
  EXPECT_EQ(cudaStreamWaitEvent(second, event), cudaSuccess);
  EXPECT_FALSE(ready(second));
  EXPECT_TRUE(ready(nullptr));
  std::thread releases([&] { halt->release(); });
  EXPECT_EQ(cudaStreamSynchronize(second), cudaSuccess);
  EXPECT_TRUE(ready(first));
  EXPECT_TRUE(ready(second));
  releases.join();
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(first), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(second), cudaSuccess);
}

TEST(Devices, AreChosenByThread) {
  int device = -1;
  EXPECT_EQ(cudaSetDevice(1), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice);
  host_cuda::set_device_count(2);
  EXPECT_EQ(cudaSetDevice(1), cudaSuccess);
  std::thread([&] { cudaGetDevice(&device); }).join();
  EXPECT_EQ(device, 0);
  EXPECT_EQ(cudaGetDevice(&device), cudaSuccess);
  EXPECT_EQ(device, 1);
  char bus[16] = "", other[16] = "";
  EXPECT_EQ(cudaDeviceGetPCIBusId(bus, 16, 0), cudaSuccess);
  EXPECT_EQ(cudaDeviceGetPCIBusId(other, 16, 1), cudaSuccess);
  EXPECT_NE(std::string(bus), other);
  EXPECT_EQ(cudaSetDevice(0), cudaSuccess);
  host_cuda::set_device_count(1);
}

TEST(CallCounts, CountAllocationsAndWaits) {
  const auto before = host_cuda::call_counts();
  void *memory = nullptr, *host = nullptr;
  ASSERT_EQ(cudaMalloc(&memory, 8), cudaSuccess);
  ASSERT_EQ(cudaMallocHost(&host, 8), cudaSuccess);
  EXPECT_EQ(host_cuda::call_counts().allocations, before.allocations + 2);
  EXPECT_EQ(cudaMemcpyAsync(host, memory, 8, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(host_cuda::call_counts().synchronisations, before.synchronisations);
  EXPECT_EQ(cudaMemcpy(host, memory, 8, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
  EXPECT_EQ(host_cuda::call_counts().synchronisations, before.synchronisations + 2);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(host), cudaSuccess);
}

}  // namespace
}  // namespace toller
