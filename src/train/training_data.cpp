#include "train/training_data.h"

#include <algorithm>
#include <filesystem>

#include "error.h"
#include "text/tokenizer.h"

namespace toller {
namespace {

/// Whether a loss can be computed on batches of that task. What else it wants, it has itself checked for.
bool takes(LossData data, Task task) {
  return (data == LossData::kScoredPairs) == (task == Task::kSimilarity);
}

std::string names_of(LossData data) {
  std::vector<std::string> names;
  for (const LossDescription& loss : loss_descriptions()) {
    if (loss.data == data) names.emplace_back(loss.name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

TrainingData::TrainingData(const TrainingOptions& options) {
  for (const std::string& path : options.data) add(path, options, false);
  if (!options.forget.empty()) add(options.forget, options, true);
  check_losses_are_used(options);
  std::vector<std::int64_t> batches;
  for (const auto& set : sets_) batches.push_back(set->plan->steps_per_epoch());
  mix_ = std::make_unique<DataMix>(
      batches, DataMixOptions{
                   .seed = options.seed, .weights = options.data_weight_list(), .alpha = options.data_alpha});
}

void TrainingData::add(const std::string& path, const TrainingOptions& options, bool forgets) {
  auto set = std::make_unique<TrainingDataSet>();
  set->name = std::filesystem::path(path).stem().string();
  for (const auto& other : sets_) {
    if (other->name == set->name) set->name = path;
  }
  set->store = read_token_store(path);
  set->forgets = forgets;
  if (!sets_.empty() && !is_same_tokenizer(set->store.tokenizer, tokenizer())) {
    fail("{} was not prepared with the tokenizer of {}; use one for all (toller prepare --tokenizer)", path,
         sets_.front()->store.path.string());
  }
  set->losses = losses_for(*set, options);
  set->plan = std::make_unique<BatchPlan>(
      set->store, set->store.split(options.split),
      BatchPlanOptions{options.seed, options.global_batch, options.positives, options.hard_negatives,
                       sampling_from_name(options.sampling)});
  sets_.push_back(std::move(set));
}

std::vector<LossTerm> TrainingData::losses_for(const TrainingDataSet& set,
                                               const TrainingOptions& options) const {
  const std::string path = set.store.path.string();
  if (set.forgets) {
    if (set.store.task != Task::kRetrieval) fail_usage("--forget {}: holds no relevance judgements", path);
    return {{"reverse-bpr", options.forget_weight}};
  }
  std::vector<LossTerm> losses;
  for (const LossTerm& term : options.loss_terms()) {
    const LossData data = loss_description(term.name).data;
    if (!takes(data, set.store.task)) continue;
    if (data == LossData::kTeacherScores && set.store.split(options.split).score.empty()) {
      fail(
          "{}: split '{}' holds no scores of a teacher, which --loss {} takes; they are the fourth column of "
          "a "
          "qrels file",
          path, options.split, term.name);
    }
    losses.push_back(term);
  }
  if (losses.empty() && set.store.task == Task::kSimilarity) {
    fail_usage("{} holds scored pairs, which --loss {} does not take; add one of {}", path,
               fmt::join(options.loss, ", --loss "), names_of(LossData::kScoredPairs));
  }
  if (losses.empty()) {
    fail_usage("{} holds relevance judgements, which --loss {} does not take; add one of {}", path,
               fmt::join(options.loss, ", --loss "), names_of(LossData::kJudgements));
  }
  return losses;
}

void TrainingData::check_losses_are_used(const TrainingOptions& options) const {
  for (const LossTerm& term : options.loss_terms()) {
    const LossData data = loss_description(term.name).data;
    const bool used = std::ranges::any_of(
        sets_, [&](const auto& set) { return !set->forgets && takes(data, set->store.task); });
    if (used) continue;
    fail_usage("--loss {} takes {}, and no --data holds any", term.name,
               data == LossData::kScoredPairs ? "scored pairs" : "relevance judgements");
  }
}

TrainingData::Batch TrainingData::batch(std::int64_t index) {
  const DataMix::Draw draw = mix_->at(index);
  return {draw.data_set, sets_[draw.data_set]->plan->batch(draw.index)};
}

std::int32_t TrainingData::max_length() const {
  std::int32_t longest = 0;
  for (const auto& set : sets_) longest = std::max(longest, set->store.max_length);
  return longest;
}

std::string TrainingData::description() const {
  std::string text;
  for (std::int64_t number = 0; number < count(); ++number) {
    const TrainingDataSet& data = set(number);
    if (count() > 1) text += fmt::format("{}{}: ", number > 0 ? "; " : "", data.name);
    if (data.store.task == Task::kSimilarity) {
      text += fmt::format("{} pairs", data.plan->queries());
    } else {
      text += fmt::format("{} queries, {} documents", data.plan->queries(), data.store.documents.rows());
    }
    if (count() > 1) text += fmt::format(", {} of {} batches", mix_->share(number), batches_per_epoch());
  }
  return text;
}

}  // namespace toller
