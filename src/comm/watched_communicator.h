// A communicator whose collectives must end in time: a rank that was stopped, that hangs or whose machine is
// gone keeps the others waiting for ever otherwise.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "comm/communicator.h"
#include "comm/operation.h"

namespace toller {

class WatchedCommunicator : public Communicator {
 public:
  /// `on_late` is told once, on a thread of its own: "rank 1: all_gather of 1,234 elements has not finished
  /// after 600 s: …". `inner` must outlive this object.
  WatchedCommunicator(Communicator& inner, std::chrono::milliseconds time_out,
                      std::function<void(const std::string&)> on_late);
  ~WatchedCommunicator() override;
  WatchedCommunicator(const WatchedCommunicator&) = delete;
  WatchedCommunicator& operator=(const WatchedCommunicator&) = delete;

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  void all_reduce_sum(std::span<float> data) override;
  void all_reduce_sum(std::span<double> data) override;
  void all_reduce_max(std::span<std::int64_t> data) override;
  void all_gather(std::span<const float> local, std::span<const std::int64_t> counts,
                  std::span<float> all) override;
  void all_gather(std::span<const double> local, std::span<const std::int64_t> counts,
                  std::span<double> all) override;
  void all_gather(std::span<const std::uint16_t> local, std::span<const std::int64_t> counts,
                  std::span<std::uint16_t> all) override;
  void reduce_scatter_sum(std::span<const float> all, std::span<const std::int64_t> counts,
                          std::span<float> local) override;
  void reduce_scatter_sum(std::span<const double> all, std::span<const std::int64_t> counts,
                          std::span<double> local) override;
  void broadcast(std::span<std::uint8_t> data, int root) override;
  void barrier() override;

 private:
  using Clock = std::chrono::steady_clock;

  /// Calls `collective` while the thread watches it. One at a time: that is how MPI is used here.
  template <class Collective>
  void watch(const char* name, std::size_t elements, Collective collective);
  void run();

  Communicator& inner_;
  std::chrono::milliseconds time_out_;
  std::function<void(const std::string&)> on_late_;
  std::mutex mutex_;  ///< of all below
  std::condition_variable stop_asked_;
  bool stopping_ = false;
  bool busy_ = false;  ///< `operation_` has gone on since `since_`
  Operation operation_;
  Clock::time_point since_;
  std::thread thread_;
};

}  // namespace toller
