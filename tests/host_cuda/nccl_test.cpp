// The stand-in of NCCL: what it refuses, and types that Toller's tests do not sum. Ranks are in
// tests/cuda/communicator_test.cpp.
#include <cuda_bf16.h>
#include <gtest/gtest.h>
#include <nccl.h>

#include <string>
#include <vector>

#include "cuda/launch.cuh"

namespace toller {
namespace {

/// One rank alone, connected.
class NcclAlone : public testing::Test {
 protected:
  NcclAlone() {
    ncclUniqueId id;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    EXPECT_EQ(ncclGetUniqueId(&id), ncclSuccess);
    EXPECT_EQ(ncclCommInitRankConfig(&comm_, 1, id, 0, &config), ncclInProgress);
    EXPECT_EQ(settle(), ncclSuccess);
    EXPECT_EQ(cudaMalloc(&memory_, 100 * sizeof(float)), cudaSuccess);
  }
  ~NcclAlone() override {
    EXPECT_EQ(cudaFree(memory_), cudaSuccess);
    EXPECT_EQ(settle(), ncclSuccess);
    EXPECT_EQ(ncclCommFinalize(comm_), ncclInProgress);
    EXPECT_EQ(ncclCommDestroy(comm_), ncclInvalidArgument) << "still in progress";
    EXPECT_EQ(settle(), ncclSuccess);
    EXPECT_EQ(ncclCommDestroy(comm_), ncclSuccess);
    EXPECT_EQ(host_cuda::nccl_communicators(), 0);
  }
  ncclResult_t settle() {
    ncclResult_t state = ncclInternalError;
    EXPECT_EQ(ncclCommGetAsyncError(comm_, &state), ncclSuccess);
    return state;
  }
  ncclResult_t sum(const void* send, void* receive, std::size_t count, ncclDataType_t type = ncclFloat32) {
    return ncclAllReduce(send, receive, count, type, ncclSum, comm_, nullptr);
  }

  ncclComm_t comm_ = nullptr;
  float* memory_ = nullptr;
};

TEST_F(NcclAlone, TheFirstCollectiveIsInProgressUntilItIsAskedFor) {
  EXPECT_EQ(sum(memory_, memory_, 5), ncclInProgress);
  EXPECT_EQ(sum(memory_, memory_, 5), ncclInvalidArgument);
  EXPECT_EQ(settle(), ncclSuccess);
  EXPECT_EQ(sum(memory_, memory_, 5), ncclSuccess);
}

TEST_F(NcclAlone, RefusesBuffersThatAreNotTheDevicesOrOverlap) {
  float host[5] = {};
  EXPECT_EQ(sum(host, memory_, 5), ncclInvalidArgument);
  EXPECT_EQ(sum(memory_, host, 5), ncclInvalidArgument);
  EXPECT_EQ(sum(memory_, memory_, 101), ncclInvalidArgument);
  EXPECT_EQ(sum(memory_, memory_ + 4, 5), ncclInvalidArgument);
  EXPECT_NE(std::string(ncclGetLastError(comm_)), "");
  EXPECT_EQ(sum(memory_, memory_ + 5, 5), ncclInProgress);
}

TEST_F(NcclAlone, RefusesRootsAndTypesThatDoNotExist) {
  EXPECT_EQ(ncclBroadcast(memory_, memory_, 5, ncclFloat32, 1, comm_, nullptr), ncclInvalidArgument);
  EXPECT_EQ(ncclReduce(memory_, memory_, 5, ncclFloat32, ncclSum, -1, comm_, nullptr), ncclInvalidArgument);
  EXPECT_EQ(sum(memory_, memory_, 5, static_cast<ncclDataType_t>(3)), ncclInvalidArgument);
  EXPECT_EQ(sum(memory_, memory_, 5, ncclBfloat16), ncclInProgress);
}

TEST_F(NcclAlone, AGroupIsDoneAtItsEnd) {
  const std::vector<float> values{1, 2};
  ASSERT_EQ(cudaMemcpy(memory_, values.data(), 8, cudaMemcpyHostToDevice), cudaSuccess);
  EXPECT_EQ(ncclGroupEnd(), ncclInvalidUsage);
  EXPECT_EQ(ncclGroupStart(), ncclSuccess);
  EXPECT_EQ(sum(memory_, memory_ + 10, 2), ncclSuccess);
  EXPECT_EQ(sum(memory_, memory_ + 20, 2), ncclSuccess);
  EXPECT_NE(memory_[10], 1);
  EXPECT_EQ(ncclGroupEnd(), ncclInProgress);
  EXPECT_EQ(memory_[10], 1);
  EXPECT_EQ(memory_[21], 2);
}

}  // namespace
}  // namespace toller
