// The collectives of a step over NCCL: on device memory, without the host, beside the computation. Runs of
// one process per GPU.
//
// Every collective is queued on a stream of its own, which waits for what is queued on the compute stream;
// the compute stream then waits for the collective, or, for a started sum, does so in finish_sums(). Shares
// of one length go as one ncclAllGather or ncclReduceScatter, others as a group of one ncclBroadcast or
// ncclReduce a rank. No call allocates or waits for the device; the first ones wait while NCCL connects.
//
// A thread watches the collectives. When one has not finished within the time-out, or NCCL reports an error
// that no call returned (another rank died, a network failed), it tells `on_failure` one line, such as "rank
// 3 of 8: all_gather of 1,234 elements has not finished after 600 s: …", and aborts NCCL's operations, so
// that a thread that waits for the device goes on; every later call throws Error with that line.
#pragma once

#include <cuda_runtime.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "comm/communicator.h"
#include "comm/tensor_communicator.h"

namespace toller {

struct NcclOptions {
  /// Longer than any rank is ever busy with something else while others wait, such as an evaluation.
  std::chrono::milliseconds time_out = std::chrono::seconds(600);
  /// Ends the job; called on the watching thread, before the operations are aborted. None: prints the line to
  /// standard error and ends the process with status 1.
  std::function<void(const std::string&)> on_failure;
};

/// Why this process cannot use NCCL: its library is not found, or the build has none. Empty if it can.
std::string why_no_nccl();

/// Collective over `communicator`, which is used here alone; `compute` must outlive the result, whose calls
/// come on the device that is current here. They cannot be captured in a CUDA graph. Throws Error when NCCL
/// is not there or not built in, when ranks share a GPU, and when the ranks do not connect within the
/// time-out. An object that is destroyed by an exception aborts; others finish, which is collective.
std::unique_ptr<TensorCommunicator> make_nccl_communicator(Communicator& communicator, cudaStream_t compute,
                                                           NcclOptions options = {});

}  // namespace toller
