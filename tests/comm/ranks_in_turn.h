// Ranks as threads of which one runs at a time, from one collective to the next: for what calls libraries
// that are not thread-safe, HDF5 above all.
#pragma once

#include <functional>
#include <mutex>

#include "comm/thread_communicator.h"

namespace toller {

class InTurnCommunicator final : public Communicator {
 public:
  /// The calling thread holds `turn`, but while it waits for others.
  InTurnCommunicator(Communicator& threads, std::mutex& turn) : threads_(threads), turn_(turn) {}

  int rank() const override { return threads_.rank(); }
  int size() const override { return threads_.size(); }
  void all_reduce_sum(std::span<float> data) override {
    wait([&] { threads_.all_reduce_sum(data); });
  }
  void all_reduce_sum(std::span<double> data) override {
    wait([&] { threads_.all_reduce_sum(data); });
  }
  void all_reduce_max(std::span<std::int64_t> data) override {
    wait([&] { threads_.all_reduce_max(data); });
  }
  void all_gather(std::span<const float> local, std::span<const std::int64_t> counts,
                  std::span<float> all) override {
    wait([&] { threads_.all_gather(local, counts, all); });
  }
  void all_gather(std::span<const double> local, std::span<const std::int64_t> counts,
                  std::span<double> all) override {
    wait([&] { threads_.all_gather(local, counts, all); });
  }
  void all_gather(std::span<const std::uint16_t> local, std::span<const std::int64_t> counts,
                  std::span<std::uint16_t> all) override {
    wait([&] { threads_.all_gather(local, counts, all); });
  }
  void reduce_scatter_sum(std::span<const float> all, std::span<const std::int64_t> counts,
                          std::span<float> local) override {
    wait([&] { threads_.reduce_scatter_sum(all, counts, local); });
  }
  void reduce_scatter_sum(std::span<const double> all, std::span<const std::int64_t> counts,
                          std::span<double> local) override {
    wait([&] { threads_.reduce_scatter_sum(all, counts, local); });
  }
  void broadcast(std::span<std::uint8_t> data, int root) override {
    wait([&] { threads_.broadcast(data, root); });
  }
  void barrier() override {
    wait([&] { threads_.barrier(); });
  }

 private:
  template <class Collective>
  void wait(const Collective& collective) {
    struct Turn {
      std::mutex& mutex;
      explicit Turn(std::mutex& held) : mutex(held) { mutex.unlock(); }
      ~Turn() { mutex.lock(); }
    };
    const Turn others(turn_);
    collective();
  }

  Communicator& threads_;
  std::mutex& turn_;
};

/// run_ranks() with one rank running at a time.
inline void run_ranks_in_turn(int ranks, const std::function<void(Communicator&)>& body) {
  std::mutex turn;
  run_ranks(ranks, [&](Communicator& threads) {
    const std::lock_guard lock(turn);
    InTurnCommunicator communicator(threads, turn);
    body(communicator);
  });
}

}  // namespace toller
