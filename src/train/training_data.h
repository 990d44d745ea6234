// The data sets of a run: their texts, their batches, and which losses each is trained with.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/batch_plan.h"
#include "data/data_mix.h"
#include "data/token_store.h"
#include "loss/catalogue.h"
#include "train/training_options.h"

namespace toller {

struct TrainingDataSet {
  std::string name;  ///< for logs and metrics: the file's, without folder and extension
  TokenStore store;
  bool forgets = false;  ///< what the model is to unlearn (--forget)
  std::vector<LossTerm> losses;
  std::unique_ptr<BatchPlan> plan;

  /// The split of that name, if the set has it; null for what is to be forgotten.
  const Split* split_to_evaluate(const std::string& name) const {
    return forgets ? nullptr : store.find_split(name);
  }
};

class TrainingData {
 public:
  /// Reads the stores. Error when they have not one tokenizer; UsageError when a data set has no loss that
  /// takes what it holds, or a loss no data set.
  explicit TrainingData(const TrainingOptions& options);

  /// In the order of --data, then that of --forget.
  std::int64_t count() const { return static_cast<std::int64_t>(sets_.size()); }
  const TrainingDataSet& set(std::int64_t number) const { return *sets_[number]; }
  const std::vector<std::unique_ptr<TrainingDataSet>>& sets() const { return sets_; }

  struct Batch {
    std::int64_t data_set = 0;
    GlobalBatch batch;
  };
  /// Batch number `index` of the run, from 0.
  Batch batch(std::int64_t index);
  std::int64_t batches_per_epoch() const { return mix_->batches_per_epoch(); }

  const std::string& tokenizer() const { return sets_.front()->store.tokenizer; }
  std::int32_t vocabulary_size() const { return sets_.front()->store.vocabulary_size; }
  /// Tokens of the longest text.
  std::int32_t max_length() const;

  /// "40 queries, 60 documents; sts: 5749 pairs" and the share of each, for people.
  std::string description() const;

 private:
  void add(const std::string& path, const TrainingOptions& options, bool forgets);
  std::vector<LossTerm> losses_for(const TrainingDataSet& set, const TrainingOptions& options) const;
  void check_losses_are_used(const TrainingOptions& options) const;

  std::vector<std::unique_ptr<TrainingDataSet>> sets_;
  std::unique_ptr<DataMix> mix_;
};

}  // namespace toller
