// This rank's part in an NCCL communicator, used by the thread that computes and ended, when things go wrong,
// by another.
#pragma once

#include <chrono>
#include <mutex>
#include <string>

#include "comm/communicator.h"
#include "cuda/nccl_library.h"
#include "cuda/operation_watchdog.h"

namespace toller {

/// NCCL's calls return at once, done or not ("non-blocking"), and never run side by side.
class NcclConnection {
 public:
  /// Collective: makes one communicator of all ranks, each on its current device. Throws Error when they do
  /// not connect within the time-out.
  NcclConnection(Communicator& communicator, std::chrono::milliseconds time_out);
  /// As abort().
  ~NcclConnection();
  NcclConnection(const NcclConnection&) = delete;
  NcclConnection& operator=(const NcclConnection&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// "rank 3 of 8"
  std::string who() const;

  /// Queues an operation: ncclResult_t enqueue(ncclComm_t). Returns when NCCL has it on the stream. Throws
  /// Error naming rank and operation, or abort()'s reason.
  template <class Enqueue>
  void call(const Operation& operation, Enqueue enqueue) {
    settle(operation, locked(enqueue));
  }

  /// Text of an error that no call returned; empty when there is none, and while a call is on its way.
  std::string asynchronous_error();

  /// Ends what is on the device and frees everything; call() throws `reason` from now on. Gives up when a
  /// call keeps NCCL busy for long.
  void abort(const std::string& reason);

  /// Collective: finishes and frees everything; aborts what does not end. Nothing after abort().
  void close();

 private:
  template <class Call>
  ncclResult_t locked(Call call) {
    const std::lock_guard lock(mutex_);
    throw_if_aborted();
    return call(comm_);
  }
  void throw_if_aborted() const;
  void connect(Communicator& communicator);
  void settle(const Operation& operation, ncclResult_t result);
  ncclResult_t state();
  std::string text_of(ncclResult_t result);

  const Nccl& nccl_;
  int rank_, size_;
  std::chrono::milliseconds time_out_;
  std::mutex mutex_;  ///< of what follows, and of all calls
  ncclComm_t comm_ = nullptr;
  std::string aborted_;  ///< why
};

/// What to look at when NCCL does not get on.
inline constexpr const char* kNcclAdvice =
    "see whether every rank still runs and gets to the same place; NCCL_DEBUG=INFO shows how the GPUs are "
    "connected; --communicator mpi does without NCCL";

}  // namespace toller
