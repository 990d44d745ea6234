// A stream as backends have it: it does not wait for the default stream.
#pragma once

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include "cuda/launch.cuh"

namespace toller {

class ComputeStream {
 public:
  ComputeStream() {
    check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  }
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

}  // namespace toller
