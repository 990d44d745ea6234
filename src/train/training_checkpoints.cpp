#include "train/training_checkpoints.h"

#include <memory>
#include <utility>

#include "checkpoint/run_checkpoints.h"
#include "seconds_since.h"

namespace toller {

template <class T>
TrainingCheckpoints<T>::TrainingCheckpoints(CheckpointPlan plan, const ParameterTable& table,
                                            const ParameterShards& shards, Communicator& communicator)
    : plan_(std::move(plan)), table_(table), shards_(shards), communicator_(communicator) {}

template <class T>
void TrainingCheckpoints<T>::start(const CheckpointMeta& meta,
                                   const std::function<void(CheckpointShare<T>&)>& fill) {
  begin_ = Clock::now();
  next_ = checkpoint_path(plan_.run, meta.step);
  const auto size = static_cast<std::size_t>(shards_.elements(communicator_.rank()));
  CheckpointShare<T> share{std::vector<T>(size), std::vector<T>(size), std::vector<T>(size)};
  fill(share);
  auto output =
      std::make_unique<CheckpointOutput<T>>(next_, meta, table_, shards_, plan_.layout, communicator_);
  checkpoint_.start(std::move(output), std::move(share), plan_.verifies);
  stall_ += seconds_since(begin_);
}

template <class T>
double TrainingCheckpoints<T>::finish() {
  const Clock::time_point wait = Clock::now();
  checkpoint_.commit();
  last_ = next_;
  if (communicator_.rank() == 0) {
    publish_last(plan_.run, last_);
    if (plan_.keep > 0) remove_old_checkpoints(plan_.run, plan_.keep);
  }
  const double seconds = seconds_since(begin_);
  seconds_ += seconds;
  stall_ += seconds_since(wait);
  ++count_;
  return seconds;
}

template <class T>
void TrainingCheckpoints<T>::go_on_from(std::int64_t step) {
  last_ = checkpoint_path(plan_.run, step);
}

template <class T>
CheckpointTimes TrainingCheckpoints<T>::times() const {
  if (count_ == 0) return {};
  const auto count = static_cast<double>(count_);
  return {count_, seconds_ / count, stall_ / count};
}

template class TrainingCheckpoints<float>;
template class TrainingCheckpoints<double>;

}  // namespace toller
