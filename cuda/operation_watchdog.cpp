#include "cuda/operation_watchdog.h"

#include <algorithm>
#include <utility>

#include "cuda/launch.cuh"
#include "error.h"

namespace toller {

OperationWatchdog::OperationWatchdog(WatchdogOptions options)
    : options_(std::move(options)), entries_(kEntries) {
  check_cuda(cudaGetDevice(&device_), "cudaGetDevice");
  for (Entry& entry : entries_) {
    check_cuda(cudaEventCreateWithFlags(&entry.end, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  }
  thread_ = std::thread([this] { run(); });
}

OperationWatchdog::~OperationWatchdog() {
  stop();
  for (const Entry& entry : entries_) cudaEventDestroy(entry.end);
}

void OperationWatchdog::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_asked_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void OperationWatchdog::watch(const Operation& operation, cudaStream_t stream) {
  const std::lock_guard lock(mutex_);
  if (count_ < kEntries) ++count_;
  Entry& newest = entry(count_ - 1);
  newest.operation = last_ = operation;
  newest.since = Clock::now();
  check_cuda(cudaEventRecord(newest.end, stream), "cudaEventRecord");
}

void OperationWatchdog::run() {
  // Queries of events are not to disturb a thread that captures a graph.
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  cudaSetDevice(device_);
  cudaThreadExchangeStreamCaptureMode(&mode);
  const auto interval =
      std::clamp(options_.time_out / 8, std::chrono::milliseconds(5), std::chrono::milliseconds(200));
  std::unique_lock lock(mutex_);
  while (!stop_asked_.wait_for(lock, interval, [this] { return stopping_; })) {
    const std::string text = problem();
    if (text.empty()) continue;
    lock.unlock();
    options_.on_failure(text);
    return;
  }
}

std::string OperationWatchdog::problem() {
  drop_finished();
  const Operation oldest = count_ > 0 ? entry(0).operation : last_;
  const std::string error = options_.asynchronous_error();
  if (!error.empty()) return fmt::format("{} failed: {}", to_text(oldest), error);
  if (count_ == 0 || Clock::now() - entry(0).since < options_.time_out) return {};
  return late_text(oldest, options_.time_out, options_.advice);
}

void OperationWatchdog::drop_finished() {
  const Clock::time_point now = Clock::now();
  // A CUDA error is for the thread that computes, whose next call returns it.
  while (count_ > 0 && cudaEventQuery(entry(0).end) != cudaErrorNotReady) {
    first_ = (first_ + 1) % kEntries;
    --count_;
    if (count_ > 0) entry(0).since = std::max(entry(0).since, now);
  }
}

}  // namespace toller
