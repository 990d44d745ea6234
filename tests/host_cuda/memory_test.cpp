// Device memory: poison, guards, ranges; and bfloat16's bits.
#include <cuda_bf16.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cuda/launch.cuh"

namespace toller {
namespace {

__global__ void write_one(unsigned char* memory, long place) {
  memory[place] = 1;
}

/// Owns nothing but one allocation that a test may damage.
unsigned char* allocate(std::size_t bytes) {
  unsigned char* memory = nullptr;
  check_cuda(cudaMalloc(&memory, bytes), "cudaMalloc");
  return memory;
}

void put(unsigned char* memory, long place, unsigned char value) {
  memory[place] = value;
}

TEST(DeviceMemory, StartsAsNaNs) {
  unsigned char* memory = allocate(4096 + 12);
  float values[1027];
  ASSERT_EQ(cudaMemcpy(values, memory, sizeof values, cudaMemcpyDeviceToHost), cudaSuccess);
  for (const float value : values) EXPECT_TRUE(std::isnan(value));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % 256, 0u);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
}

TEST(DeviceMemory, WritesBesideAnAllocationAreFound) {
  unsigned char* memory = allocate(1000);
  for (const long place : {1000L, 1023L, -1L}) {
    EXPECT_THAT([&] { launch<write_one>(1, 1, 0, nullptr, memory, place); },
                testing::ThrowsMessage<host_cuda::Error>(testing::AllOf(
                    testing::HasSubstr("write_one"), testing::HasSubstr("allocation of 1000 bytes"))));
    put(memory, place, 0xFF);
  }
  launch<write_one>(1, 1, 0, nullptr, memory, 999L);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
}

TEST(DeviceMemoryDeathTest, AccessesFartherOutEndTheProgramWithThePlace) {
  unsigned char* memory = allocate(1024);
  EXPECT_DEATH(
      launch<write_one>(1, 1, 0, nullptr, memory, 1024L),
      "write_one, block \\(0, 0, 0\\), thread \\(0, 0, 0\\): access to .* outside the allocation of 1024");
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
}

__global__ void write_behind_shared() {
  dynamic_shared<unsigned char>()[10] = 1;
}

TEST(DeviceMemory, WritesBehindDynamicSharedMemoryAreFound) {
  launch<write_behind_shared>(1, 1, 11, nullptr);
  EXPECT_THROW(launch<write_behind_shared>(1, 1, 10, nullptr), host_cuda::Error);
}

TEST(DeviceMemory, CopiesAreHeldToAllocations) {
  unsigned char* memory = allocate(100);
  unsigned char host[200] = {};
  EXPECT_EQ(cudaMemcpy(memory, host, 101, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(memory + 50, host, 50, cudaMemcpyHostToDevice), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(host, memory, 100, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host, host + 100, 100, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(memory, 0, 101), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(memory + 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(Bfloat16, RoundsToNearestEven) {
  const auto bits = [](float x) { return __bfloat16_as_ushort(__float2bfloat16_rn(x)); };
  EXPECT_EQ(bits(1.0f), 0x3F80);
  EXPECT_EQ(bits(1.0f + 0x1p-8f), 0x3F80);             // half way, to even
  EXPECT_EQ(bits(1.0f + 0x1p-8f + 0x1p-20f), 0x3F81);  // above half way
  EXPECT_EQ(bits(1.0f + 3 * 0x1p-8f), 0x3F82);         // half way, to even
  EXPECT_EQ(bits(-1.5f), 0xBFC0);
  EXPECT_EQ(bits(std::numeric_limits<float>::max()), 0x7F80);  // rounds up to infinity
  EXPECT_EQ(bits(std::numeric_limits<float>::infinity()), 0x7F80);
  EXPECT_EQ(bits(std::numeric_limits<float>::quiet_NaN()), 0x7FFF);
  EXPECT_EQ(bits(0x1p-133f), 0x0001);  // the smallest subnormal number
  EXPECT_EQ(__bfloat162float(__ushort_as_bfloat16(0x4049)), 3.140625f);
}

}  // namespace
}  // namespace toller
