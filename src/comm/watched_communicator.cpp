#include "comm/watched_communicator.h"

#include <algorithm>
#include <utility>

#include "error.h"

namespace toller {

WatchedCommunicator::WatchedCommunicator(Communicator& inner, std::chrono::milliseconds time_out,
                                         std::function<void(const std::string&)> on_late)
    : inner_(inner), time_out_(time_out), on_late_(std::move(on_late)), thread_([this] { run(); }) {}

WatchedCommunicator::~WatchedCommunicator() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_asked_.notify_all();
  thread_.join();
}

void WatchedCommunicator::run() {
  const auto interval =
      std::clamp(time_out_ / 8, std::chrono::milliseconds(5), std::chrono::milliseconds(200));
  std::unique_lock lock(mutex_);
  while (!stop_asked_.wait_for(lock, interval, [this] { return stopping_; })) {
    if (!busy_ || Clock::now() - since_ < time_out_) continue;
    const std::string text =
        late_text(operation_, time_out_,
                  "another rank has stopped, hangs or is busy with something else; a longer "
                  "--timeout waits for it");
    lock.unlock();
    on_late_(fmt::format("rank {}: {}", rank(), text));
    return;
  }
}

template <class Collective>
void WatchedCommunicator::watch(const char* name, std::size_t elements, Collective collective) {
  const auto set_busy = [&](bool busy) {
    const std::lock_guard lock(mutex_);
    busy_ = busy;
    if (!busy) return;
    operation_ = {name, static_cast<std::int64_t>(elements)};
    since_ = Clock::now();
  };
  set_busy(true);
  collective();
  set_busy(false);
}

void WatchedCommunicator::all_reduce_sum(std::span<float> data) {
  watch("all_reduce_sum", data.size(), [&] { inner_.all_reduce_sum(data); });
}

void WatchedCommunicator::all_reduce_sum(std::span<double> data) {
  watch("all_reduce_sum", data.size(), [&] { inner_.all_reduce_sum(data); });
}

void WatchedCommunicator::all_reduce_max(std::span<std::int64_t> data) {
  watch("all_reduce_max", data.size(), [&] { inner_.all_reduce_max(data); });
}

void WatchedCommunicator::all_gather(std::span<const float> local, std::span<const std::int64_t> counts,
                                     std::span<float> all) {
  watch("all_gather", all.size(), [&] { inner_.all_gather(local, counts, all); });
}

void WatchedCommunicator::all_gather(std::span<const double> local, std::span<const std::int64_t> counts,
                                     std::span<double> all) {
  watch("all_gather", all.size(), [&] { inner_.all_gather(local, counts, all); });
}

void WatchedCommunicator::all_gather(std::span<const std::uint16_t> local,
                                     std::span<const std::int64_t> counts, std::span<std::uint16_t> all) {
  watch("all_gather", all.size(), [&] { inner_.all_gather(local, counts, all); });
}

void WatchedCommunicator::reduce_scatter_sum(std::span<const float> all, std::span<const std::int64_t> counts,
                                             std::span<float> local) {
  watch("reduce_scatter_sum", all.size(), [&] { inner_.reduce_scatter_sum(all, counts, local); });
}

void WatchedCommunicator::reduce_scatter_sum(std::span<const double> all,
                                             std::span<const std::int64_t> counts, std::span<double> local) {
  watch("reduce_scatter_sum", all.size(), [&] { inner_.reduce_scatter_sum(all, counts, local); });
}

void WatchedCommunicator::broadcast(std::span<std::uint8_t> data, int root) {
  watch("broadcast", data.size(), [&] { inner_.broadcast(data, root); });
}

void WatchedCommunicator::barrier() {
  watch("barrier", static_cast<std::size_t>(Operation::kNoElements), [&] { inner_.barrier(); });
}

}  // namespace toller
