// Several ranks inside one test program: threads that call the same collectives. For tests of what runs over
// a Communicator; MPI itself is tested in tests/mpi. Sums add in rank order.
#pragma once

#include <algorithm>
#include <atomic>
#include <barrier>
#include <exception>
#include <functional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "comm/blocks.h"
#include "comm/communicator.h"

namespace toller {

/// What the ranks of one run share.
struct ThreadGroup {
  explicit ThreadGroup(int ranks) : size(ranks), barrier(ranks), buffers(static_cast<std::size_t>(ranks)) {}

  int size;
  std::barrier<> barrier;
  std::vector<const void*> buffers;  ///< what each rank brings to the collective in progress
  std::atomic<bool> failed = false;
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(ThreadGroup& group, int rank) : group_(group), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return group_.size; }
  void all_reduce_sum(std::span<float> data) override { sum(data); }
  void all_reduce_sum(std::span<double> data) override { sum(data); }

  void all_reduce_max(std::span<std::int64_t> data) override {
    std::vector<std::int64_t> result(data.begin(), data.end());
    exchange(data.data(), [&](int, const void* theirs) {
      const auto* values = static_cast<const std::int64_t*>(theirs);
      for (std::size_t i = 0; i < result.size(); ++i) result[i] = std::max(result[i], values[i]);
    });
    std::ranges::copy(result, data.begin());
  }

  void all_gather(std::span<const float> local, std::span<const std::int64_t> counts,
                  std::span<float> all) override {
    gather(local, counts, all);
  }
  void all_gather(std::span<const double> local, std::span<const std::int64_t> counts,
                  std::span<double> all) override {
    gather(local, counts, all);
  }
  void all_gather(std::span<const std::uint16_t> local, std::span<const std::int64_t> counts,
                  std::span<std::uint16_t> all) override {
    gather(local, counts, all);
  }
  void reduce_scatter_sum(std::span<const float> all, std::span<const std::int64_t> counts,
                          std::span<float> local) override {
    scatter_sum(all, counts, local);
  }
  void reduce_scatter_sum(std::span<const double> all, std::span<const std::int64_t> counts,
                          std::span<double> local) override {
    scatter_sum(all, counts, local);
  }

  void broadcast(std::span<std::uint8_t> data, int root) override {
    exchange(data.data(), [&](int from, const void* theirs) {
      if (from == root && from != rank_)
        std::copy_n(static_cast<const std::uint8_t*>(theirs), data.size(), data.data());
    });
  }
  void barrier() override { wait(); }

 private:
  void wait() {
    group_.barrier.arrive_and_wait();
    if (group_.failed) throw std::runtime_error("another rank failed");
  }

  /// Shows `mine` to the others and visits every rank's buffer in rank order; nobody goes on before all have
  /// visited.
  template <class Visit>
  void exchange(const void* mine, Visit visit) {
    group_.buffers[static_cast<std::size_t>(rank_)] = mine;
    wait();
    for (int r = 0; r < group_.size; ++r) visit(r, group_.buffers[static_cast<std::size_t>(r)]);
    wait();
  }

  template <class T>
  void sum(std::span<T> data) {
    std::vector<T> total(data.size(), T{0});
    exchange(data.data(), [&](int, const void* theirs) {
      const auto* values = static_cast<const T*>(theirs);
      for (std::size_t i = 0; i < total.size(); ++i) total[i] += values[i];
    });
    std::ranges::copy(total, data.begin());
  }

  template <class T>
  void gather(std::span<const T> local, std::span<const std::int64_t> counts, std::span<T> all) {
    check_blocks(counts, rank_, group_.size, local.size(), all.size(), "all_gather");
    T* to = all.data();
    exchange(local.data(), [&](int from, const void* theirs) {
      const auto count = counts[static_cast<std::size_t>(from)];
      if (theirs != to) std::copy_n(static_cast<const T*>(theirs), count, to);
      to += count;
    });
  }

  template <class T>
  void scatter_sum(std::span<const T> all, std::span<const std::int64_t> counts, std::span<T> local) {
    check_blocks(counts, rank_, group_.size, local.size(), all.size(), "reduce_scatter_sum");
    std::size_t begin = 0;
    for (std::size_t r = 0; r < static_cast<std::size_t>(rank_); ++r)
      begin += static_cast<std::size_t>(counts[r]);
    std::vector<T> total(local.size(), T{0});
    exchange(all.data(), [&](int, const void* theirs) {
      const auto* values = static_cast<const T*>(theirs) + begin;
      for (std::size_t i = 0; i < total.size(); ++i) total[i] += values[i];
    });
    std::ranges::copy(total, local.begin());
  }

  ThreadGroup& group_;
  int rank_;
};

/// Runs `body` on `ranks` threads, one rank each, and waits. The exception of the first rank that failed is
/// thrown on; the others fail at their next collective.
inline void run_ranks(int ranks, const std::function<void(Communicator&)>& body) {
  ThreadGroup group(ranks);
  std::exception_ptr first;
  std::atomic<bool> taken = false;
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      try {
        ThreadCommunicator communicator(group, r);
        body(communicator);
      } catch (...) {
        if (!taken.exchange(true)) first = std::current_exception();
        group.failed = true;
      }
      group.barrier.arrive_and_drop();
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace toller
