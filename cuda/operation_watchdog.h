// Notices operations on a stream that do not finish, and errors that no call returns.
#pragma once

#include <cuda_runtime.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "comm/operation.h"

namespace toller {

struct WatchdogOptions {
  std::chrono::milliseconds time_out;
  /// What to look at when an operation has not finished; ends the message.
  std::string advice;
  /// Called again and again: text of an asynchronous error, empty when there is none.
  std::function<std::string()> asynchronous_error;
  /// Told once, on the watchdog's thread: "all_gather of 1,234 elements has not finished after 600 s: …".
  std::function<void(const std::string&)> on_failure;
};

/// Watches one stream, whose operations finish in order, from a thread of its own. The oldest unfinished
/// operation is late when the time-out has passed both since it was queued and since the one before it was
/// seen to finish.
class OperationWatchdog {
 public:
  /// Starts the thread, on the device that is current here.
  explicit OperationWatchdog(WatchdogOptions options);
  /// As stop(); frees the events.
  ~OperationWatchdog();
  OperationWatchdog(const OperationWatchdog&) = delete;
  OperationWatchdog& operator=(const OperationWatchdog&) = delete;

  /// The operation was queued on the stream last. Allocates nothing and does not wait; where a great many are
  /// unfinished, the newest watched one and this are watched as one.
  void watch(const Operation& operation, cudaStream_t stream);

  /// Ends the thread; waits for a report that it is making.
  void stop();

 private:
  using Clock = std::chrono::steady_clock;
  struct Entry {
    Operation operation;
    cudaEvent_t end = nullptr;
    Clock::time_point since;
  };
  static constexpr std::size_t kEntries = 256;

  void run();
  /// What is wrong now; empty when nothing is.
  std::string problem();
  void drop_finished();
  Entry& entry(std::size_t place) { return entries_[(first_ + place) % kEntries]; }

  WatchdogOptions options_;
  int device_ = 0;
  std::mutex mutex_;  ///< of all below
  std::condition_variable stop_asked_;
  bool stopping_ = false;
  std::vector<Entry> entries_;  ///< a ring: `count_` unfinished ones from `first_` on
  std::size_t first_ = 0, count_ = 0;
  Operation last_;  ///< that was queued
  std::thread thread_;
};

}  // namespace toller
