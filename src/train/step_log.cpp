#include "train/step_log.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

namespace toller {

StepLog::StepLog(std::vector<std::string> data_sets, std::int64_t first, std::int64_t last,
                 std::function<double(std::int64_t)> epochs)
    : data_sets_(std::move(data_sets)), first_(first), last_(last), epochs_(std::move(epochs)) {
  interval_.data_sets.resize(data_sets_.size());
}

double StepLog::add(const StepOutcome& outcome, const std::vector<BatchOutcome>& batches, double tokens) {
  const Clock::time_point now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - std::exchange(step_end_, now)).count();
  tokens_ += tokens;
  step_seconds_ += seconds;
  interval_.tokens += tokens;
  interval_.seconds += seconds;
  if (outcome.skipped) return seconds;
  interval_.loss += outcome.loss;
  ++interval_.steps;
  for (const BatchOutcome& batch : batches) {
    SumOfBatches& sum = interval_.data_sets[static_cast<std::size_t>(batch.data_set)];
    sum.loss += batch.loss;
    ++sum.batches;
  }
  return seconds;
}

ProgressState StepLog::state(std::int64_t step, const StepOutcome& outcome, double loss) const {
  const auto done = static_cast<double>(step - first_);
  return {.step = step,
          .total_steps = last_,
          .epoch = epochs_(step),
          .loss = loss,
          .learning_rate = outcome.learning_rate,
          .tokens_per_second = tokens_ / step_seconds_,
          .seconds_left = step_seconds_ / done * static_cast<double>(last_ - step)};
}

void StepLog::write(RunFolder* folder, Progress& progress, std::int64_t step, const StepOutcome& outcome,
                    std::int64_t skipped) {
  const bool all_skipped = interval_.steps == 0;
  last_loss_ = all_skipped ? std::nan("") : interval_.loss / static_cast<double>(interval_.steps);
  progress.interval(state(step, outcome, last_loss_));
  if (folder != nullptr) {
    nlohmann::ordered_json line{{"step", step},
                                {"epoch", epochs_(step)},
                                {"loss", last_loss_},
                                {"lr", outcome.learning_rate},
                                {"gradient_norm", outcome.gradient_norm},
                                {"temperature", outcome.temperature},
                                {"tokens_per_second", interval_.tokens / interval_.seconds},
                                {"seconds", step_seconds_}};
    if (skipped > 0) line["skipped_steps"] = skipped;
    for (std::size_t set = 0; data_sets_.size() > 1 && set < data_sets_.size(); ++set) {
      const SumOfBatches& sum = interval_.data_sets[set];
      if (sum.batches > 0) line[data_sets_[set] + "/loss"] = sum.loss / static_cast<double>(sum.batches);
    }
    folder->append_metrics(line);
  }
  interval_ = {};
  interval_.data_sets.resize(data_sets_.size());
}

}  // namespace toller
