// A checkpoint that is written beside the training: every rank's share is copied, and a thread of the rank
// writes the copy.
#pragma once

#include <atomic>
#include <exception>
#include <memory>
#include <thread>

#include "checkpoint/checkpoint_output.h"

namespace toller {

/// One at a time. All methods on the main thread.
template <class T>
class BackgroundCheckpoint {
 public:
  BackgroundCheckpoint() = default;
  ~BackgroundCheckpoint();
  BackgroundCheckpoint(const BackgroundCheckpoint&) = delete;
  BackgroundCheckpoint& operator=(const BackgroundCheckpoint&) = delete;

  /// Begins to write `share`; `verifies`: reads it back. Not while one is in flight.
  void start(std::unique_ptr<CheckpointOutput<T>> output, CheckpointShare<T> share, bool verifies);
  /// From start() to commit(); the same on all ranks.
  bool is_in_flight() const { return output_ != nullptr; }
  /// The thread of this rank is done, whether well or not.
  bool is_written() const { return written_; }
  /// Waits for the thread. Collective: the checkpoint appears, or where a rank failed all throw its Error.
  void commit();

 private:
  std::unique_ptr<CheckpointOutput<T>> output_;
  CheckpointShare<T> share_;
  std::thread thread_;
  std::atomic<bool> written_ = false;
  std::exception_ptr failure_;
};

}  // namespace toller
