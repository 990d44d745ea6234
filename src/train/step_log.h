// What a run tells of its steps: the rate and the time that is left after each of them, and from time to time
// a line for people and one of metrics.jsonl, with means since the line before.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "train/progress.h"
#include "train/run_folder.h"

namespace toller {

struct StepOutcome {
  double loss = 0, gradient_norm = 0, learning_rate = 0, temperature = 0;
  bool skipped = false;  ///< the gradient is not finite
};

/// A batch of a step.
struct BatchOutcome {
  std::int64_t data_set = 0;
  double loss = 0;
};

class StepLog {
 public:
  /// `data_sets`: their names. Steps `first` + 1 to `last` are this process's; `epochs`: of a step's number.
  StepLog(std::vector<std::string> data_sets, std::int64_t first, std::int64_t last,
          std::function<double(std::int64_t)> epochs);

  /// What came before was no step: the next one begins now.
  void begin_steps() { step_end_ = Clock::now(); }
  /// A step's results are there; `tokens`: of all ranks. Returns the seconds it took. Steps that were skipped
  /// count in the rates, not in the means.
  double add(const StepOutcome& outcome, const std::vector<BatchOutcome>& batches, double tokens);

  /// After `step`, of which `loss` is to be shown.
  ProgressState state(std::int64_t step, const StepOutcome& outcome, double loss) const;
  /// The lines of the steps since the last call. `skipped`: steps so far, in all. `folder`: null on all ranks
  /// but the first.
  void write(RunFolder* folder, Progress& progress, std::int64_t step, const StepOutcome& outcome,
             std::int64_t skipped);

  /// Mean of the last write().
  double last_loss() const { return last_loss_; }
  double tokens_per_second() const { return step_seconds_ > 0 ? tokens_ / step_seconds_ : 0; }

 private:
  using Clock = std::chrono::steady_clock;

  struct SumOfBatches {
    double loss = 0;
    std::int64_t batches = 0;
  };
  /// Since the last write().
  struct Interval {
    double loss = 0, tokens = 0, seconds = 0;
    std::int64_t steps = 0;  ///< that were made
    std::vector<SumOfBatches> data_sets;
  };

  std::vector<std::string> data_sets_;
  std::int64_t first_, last_;
  std::function<double(std::int64_t)> epochs_;
  Clock::time_point step_end_ =
      Clock::now();          ///< when the last step's results were there, or the first began
  double tokens_ = 0;        ///< encoded since the start, all ranks
  double step_seconds_ = 0;  ///< without evaluation and what else comes between steps
  Interval interval_;
  double last_loss_ = 0;
};

}  // namespace toller
