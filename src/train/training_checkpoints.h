// The checkpoints of a run: each is written beside the training, by a thread of every rank from a copy of its
// share, and becomes the run's last one when all ranks have written theirs.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>

#include "train/background_checkpoint.h"

namespace toller {

struct CheckpointPlan {
  std::filesystem::path run;  ///< the folder
  std::int64_t keep = 0;      ///< newest ones besides step 0; 0: all
  CheckpointLayout layout = CheckpointLayout::kOneFile;
  bool verifies = false;  ///< each is read back before it counts
};

/// Mean seconds of a run's checkpoints.
struct CheckpointTimes {
  std::int64_t checkpoints = 0;
  double seconds = 0;  ///< from a checkpoint's beginning until it was there
  double stall = 0;    ///< of these, in which training waited
};

/// All methods on the main thread.
template <class T>
class TrainingCheckpoints {
 public:
  /// Table, shards and communicator must outlive this object.
  TrainingCheckpoints(CheckpointPlan plan, const ParameterTable& table, const ParameterShards& shards,
                      Communicator& communicator);

  /// Collective: begins the checkpoint of meta.step. `fill` copies this rank's share, of which all vectors
  /// have their size already. Not while one is in flight.
  void start(const CheckpointMeta& meta, const std::function<void(CheckpointShare<T>&)>& fill);
  bool is_in_flight() const { return checkpoint_.is_in_flight(); }
  /// This rank has written its share of the one in flight, or failed to.
  bool is_written() const { return checkpoint_.is_written(); }
  /// Waits for the one in flight. Collective: it becomes the last one, and old ones go; where a rank failed,
  /// all throw its Error. Returns the seconds since start().
  double finish();

  /// The last one that is there; of a run that goes on, the one that it goes on from.
  const std::filesystem::path& last() const { return last_; }
  void go_on_from(std::int64_t step);
  CheckpointTimes times() const;

 private:
  using Clock = std::chrono::steady_clock;

  CheckpointPlan plan_;
  const ParameterTable& table_;
  const ParameterShards& shards_;
  Communicator& communicator_;
  BackgroundCheckpoint<T> checkpoint_;
  Clock::time_point begin_;
  std::filesystem::path next_, last_;  ///< the one in flight, the one that is there
  double seconds_ = 0, stall_ = 0;     ///< of all
  std::int64_t count_ = 0;
};

}  // namespace toller
