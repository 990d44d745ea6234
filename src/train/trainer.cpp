#include "train/trainer.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>
#include <type_traits>

#include "checkpoint/checkpoint.h"
#include "checkpoint/run_checkpoints.h"
#include "device/cpu/threads.h"
#include "error.h"
#include "eval/evaluation.h"
#include "optim/adamw.h"
#include "optim/schedule.h"
#include "text/tokenizer.h"
#include "train/progress.h"
#include "train/run_folder.h"
#include "train/stop_signal.h"
#include "train/training_step.h"

namespace toller {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// A message of a few MiB keeps an all-reduce at full speed and its buffers small.
constexpr std::int64_t kBucketElements = 1 << 20;

/// A learned temperature stays in here, as CLIP's is kept from running away.
constexpr double kLeastTemperature = 0.001, kGreatestTemperature = 100;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::int64_t peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

std::vector<DecaySlice> decay_slices(const ParameterTable& table) {
  std::vector<DecaySlice> slices;
  for (const TensorView& tensor : table.tensors())
    slices.push_back({tensor.offset, tensor.size, tensor.decay});
  return slices;
}

/// What decides the model before the first step: options, or a checkpoint.
struct Start {
  EncoderConfig encoder;
  std::int64_t step = 0;
  nlohmann::json origin;
};

template <class T>
class Trainer {
 public:
  /// `model`: the checkpoint to go on from (`resumes`) or to take the parameters of; null: random ones.
  Trainer(const TrainingOptions& options, const TokenStore& store, const CheckpointReader* model,
          bool resumes, Communicator& communicator)
      : options_(options),
        store_(store),
        communicator_(communicator),
        start_(find_start(model, resumes)),
        table_(start_.encoder),
        ops_(make_cpu_ops<T>()),
        loss_(make_infonce<T>(*ops_, {.symmetric = options.symmetric})),
        plan_(store, store.split(options.split),
              {options.seed, options.global_batch, options.positives, options.hard_negatives}),
        step_(
            start_.encoder, table_, *ops_, *loss_, communicator, store,
            {.max_length = longest_text(), .micro_batch = options.micro_batch, .dropout_seed = options.seed}),
        adamw_(*ops_, decay_slices(table_),
               {options.adam_beta1, options.adam_beta2, options.adam_epsilon, options.weight_decay,
                options.clip}),
        parameters_(static_cast<std::size_t>(table_.size())),
        gradients_(static_cast<std::size_t>(table_.size())),
        log_temperature_(table_.at("loss.log_temperature").offset) {
    total_steps_ = options.steps > 0 ? options.steps : steps_in_epochs();
    fill_parameters(model, resumes);
    schedule_ = {.peak = options.lr,
                 .decay = decay_from_name(options.schedule),
                 .warmup_steps = warmup_steps(),
                 .total_steps = total_steps_};
  }

  TrainingSummary run(RunFolder* folder, Progress& progress);

 private:
  std::int32_t longest_text() const {
    return options_.max_length > 0 ? std::min(options_.max_length, store_.max_length) : store_.max_length;
  }
  std::int64_t steps_in_epochs() const;
  std::int64_t warmup_steps() const;
  double epoch_at(std::int64_t step) const;

  Start find_start(const CheckpointReader* model, bool resumes) const;
  void check_fits(const CheckpointReader& model) const;
  void fill_parameters(const CheckpointReader* model, bool resumes);

  /// One optimiser step; adds the tokens of all ranks to tokens_ and returns the loss and whether to stop.
  struct StepOutcome {
    double loss = 0, gradient_norm = 0, learning_rate = 0;
    bool stop = false;
  };
  StepOutcome train_step(std::int64_t step, const StopSignal& signal);
  void all_reduce_gradients();

  void write_checkpoint_file(RunFolder* folder, std::int64_t step);
  void evaluate(RunFolder* folder, Progress& progress, std::int64_t step);
  ProgressState progress_state(std::int64_t step, const StepOutcome& outcome, double mean_loss) const;
  void log_interval(RunFolder* folder, Progress& progress, std::int64_t step, const StepOutcome& outcome);
  void announce(Progress& progress) const;

  const TrainingOptions& options_;
  const TokenStore& store_;
  Communicator& communicator_;
  Start start_;
  ParameterTable table_;
  std::unique_ptr<Ops<T>> ops_;
  std::unique_ptr<Loss<T>> loss_;
  BatchPlan plan_;
  TrainingStep<T> step_;
  AdamW<T> adamw_;
  std::vector<T> parameters_, gradients_;
  std::int64_t log_temperature_;
  std::int64_t total_steps_ = 0;
  Schedule schedule_;

  double tokens_ = 0;        ///< encoded since the start, all ranks
  double step_seconds_ = 0;  ///< time in steps: without checkpoints and evaluation
  double interval_loss_ = 0, interval_tokens_ = 0, interval_seconds_ = 0;
  std::int64_t interval_steps_ = 0;
  double last_loss_ = 0;
  fs::path last_checkpoint_;
};

template <class T>
std::int64_t Trainer<T>::steps_in_epochs() const {
  const double batches = options_.epochs * static_cast<double>(plan_.steps_per_epoch());
  return std::max<std::int64_t>(1,
                                std::llround(std::ceil(batches / static_cast<double>(options_.accumulate))));
}

template <class T>
std::int64_t Trainer<T>::warmup_steps() const {
  const double steps =
      options_.warmup < 1 ? options_.warmup * static_cast<double>(total_steps_) : options_.warmup;
  return std::llround(steps);
}

template <class T>
double Trainer<T>::epoch_at(std::int64_t step) const {
  return static_cast<double>(step * options_.accumulate) / static_cast<double>(plan_.steps_per_epoch());
}

template <class T>
void Trainer<T>::check_fits(const CheckpointReader& model) const {
  check_same_tokenizer(model, store_);
  const std::int32_t most = model.meta().encoder.max_positions;
  if (most < longest_text()) {
    fail("{}: the model takes texts of at most {} tokens, {} has longer ones; give --max-length {}",
         model.path().string(), most, store_.path.string(), most);
  }
}

template <class T>
Start Trainer<T>::find_start(const CheckpointReader* model, bool resumes) const {
  if (model == nullptr) {
    return {.encoder = encoder_config_for(options_, store_.vocabulary_size, longest_text()),
            .step = 0,
            .origin = {{"method", "train"}, {"preset", options_.preset}}};
  }
  check_fits(*model);
  const CheckpointMeta& meta = model->meta();
  if (resumes) return {.encoder = meta.encoder, .step = meta.step, .origin = meta.origin};
  Start start{.encoder = meta.encoder,
              .step = 0,
              .origin = {{"method", "train"}, {"init", options_.init}, {"init_origin", meta.origin}}};
  start.encoder.hidden_dropout = start.encoder.attention_dropout = options_.dropout;
  return start;
}

template <class T>
void Trainer<T>::fill_parameters(const CheckpointReader* model, bool resumes) {
  if (model == nullptr) {
    initialize_parameters(start_.encoder, table_, options_.seed, parameters_.data());
  } else {
    model->read_parameters(std::span<T>(parameters_));
  }
  if (resumes) {
    model->read_moments(adamw_.m(), adamw_.v());
  } else {
    parameters_[log_temperature_] = static_cast<T>(std::log(options_.temperature));
  }
}

template <class T>
void Trainer<T>::all_reduce_gradients() {
  for (std::int64_t begin = 0; begin < table_.size(); begin += kBucketElements) {
    const std::int64_t size = std::min(kBucketElements, table_.size() - begin);
    communicator_.all_reduce_sum(std::span<T>(gradients_.data() + begin, static_cast<std::size_t>(size)));
  }
}

template <class T>
typename Trainer<T>::StepOutcome Trainer<T>::train_step(std::int64_t step, const StopSignal& signal) {
  const auto begin = Clock::now();
  StepOutcome outcome;
  std::array<double, 3> sums{};  // gradient of log τ, tokens, ranks that were told to stop
  ops_->zero(gradients_.data(), table_.size());
  for (std::int64_t a = 0; a < options_.accumulate; ++a) {
    const std::int64_t index = (step - 1) * options_.accumulate + a;
    const StepResult result = step_.run(plan_, plan_.batch(index), index, parameters_.data(),
                                        static_cast<double>(parameters_[log_temperature_]),
                                        1.0 / static_cast<double>(options_.accumulate), gradients_.data());
    outcome.loss += result.loss / static_cast<double>(options_.accumulate);
    sums[0] += result.log_temperature_gradient;
    sums[1] += static_cast<double>(result.tokens);
  }
  if (!std::isfinite(outcome.loss)) {
    fail("step {}: the loss is {}; a lower --lr or --clip may help. The last checkpoint is {}", step,
         outcome.loss, last_checkpoint_.empty() ? "none" : last_checkpoint_.string());
  }
  all_reduce_gradients();
  sums[2] = signal.received() != 0 ? 1 : 0;
  communicator_.all_reduce_sum(std::span<double>(sums));
  gradients_[log_temperature_] = options_.learn_temperature ? static_cast<T>(sums[0]) : T{0};
  outcome.learning_rate = schedule_.at(step);
  outcome.gradient_norm = adamw_.update(step, outcome.learning_rate, gradients_.data(), parameters_.data());
  parameters_[log_temperature_] =
      std::clamp(parameters_[log_temperature_], static_cast<T>(std::log(kLeastTemperature)),
                 static_cast<T>(std::log(kGreatestTemperature)));
  outcome.stop = sums[2] > 0;

  const double seconds = seconds_since(begin);
  tokens_ += sums[1];
  step_seconds_ += seconds;
  interval_loss_ += outcome.loss;
  interval_tokens_ += sums[1];
  interval_seconds_ += seconds;
  ++interval_steps_;
  return outcome;
}

template <class T>
ProgressState Trainer<T>::progress_state(std::int64_t step, const StepOutcome& outcome,
                                         double mean_loss) const {
  const auto done = static_cast<double>(step - start_.step);
  return {.step = step,
          .total_steps = total_steps_,
          .epoch = epoch_at(step),
          .loss = mean_loss,
          .learning_rate = outcome.learning_rate,
          .tokens_per_second = tokens_ / step_seconds_,
          .seconds_left = step_seconds_ / done * static_cast<double>(total_steps_ - step)};
}

template <class T>
void Trainer<T>::log_interval(RunFolder* folder, Progress& progress, std::int64_t step,
                              const StepOutcome& outcome) {
  last_loss_ = interval_loss_ / static_cast<double>(interval_steps_);
  const double rate = interval_tokens_ / interval_seconds_;
  progress.interval(progress_state(step, outcome, last_loss_));
  if (folder != nullptr) {
    folder->append_metrics({{"step", step},
                            {"epoch", epoch_at(step)},
                            {"loss", last_loss_},
                            {"lr", outcome.learning_rate},
                            {"gradient_norm", outcome.gradient_norm},
                            {"temperature", std::exp(static_cast<double>(parameters_[log_temperature_]))},
                            {"tokens_per_second", rate},
                            {"seconds", step_seconds_}});
  }
  interval_loss_ = interval_tokens_ = interval_seconds_ = 0;
  interval_steps_ = 0;
}

template <class T>
void Trainer<T>::write_checkpoint_file(RunFolder* folder, std::int64_t step) {
  last_checkpoint_ = checkpoint_path(options_.out, step);
  if (folder == nullptr) return;
  CheckpointMeta meta{.encoder = start_.encoder,
                      .training = to_json(options_),
                      .state = {{"step", step},
                                {"batches", step * options_.accumulate},
                                {"steps_per_epoch", plan_.steps_per_epoch()},
                                {"ranks", communicator_.size()}},
                      .origin = start_.origin,
                      .step = step,
                      .tokenizer = store_.tokenizer};
  write_checkpoint<T>(last_checkpoint_, meta, table_, std::span<const T>(parameters_), adamw_.m(),
                      adamw_.v());
  publish_last(folder->path(), last_checkpoint_);
  if (options_.keep > 0) remove_old_checkpoints(folder->path(), options_.keep);
}

template <class T>
void Trainer<T>::evaluate(RunFolder* folder, Progress& progress, std::int64_t step) {
  const std::vector<float> parameters(parameters_.begin(), parameters_.end());
  Embedder embedder(start_.encoder, table_, parameters);
  const Evaluation evaluation =
      evaluate_model(embedder, store_, store_.split(options_.eval_split),
                     {.auc = false, .most_queries = options_.eval_queries}, communicator_);
  progress.say(fmt::format("step {}: {} nDCG@10 {:.4f}, MRR@10 {:.4f}, recall@100 {:.4f} ({} queries)", step,
                           options_.eval_split, evaluation.metric("ndcg@10"), evaluation.metric("mrr@10"),
                           evaluation.metric("recall@100"), evaluation.queries));
  if (folder == nullptr) return;
  nlohmann::ordered_json line{{"step", step}};
  for (const auto& [name, value] : evaluation.metrics) line[options_.eval_split + "/" + name] = value;
  folder->append_metrics(line);
}

template <class T>
void Trainer<T>::announce(Progress& progress) const {
  progress.say(
      fmt::format("{} parameters ({} layers, hidden size {}, {} heads), {} queries, {} documents, global "
                  "batch {} over {} rank{}, "
                  "{} steps of {:.2f} epochs",
                  table_.size(), start_.encoder.layers, start_.encoder.hidden_size, start_.encoder.heads,
                  plan_.queries(), store_.documents.rows(), options_.global_batch, communicator_.size(),
                  communicator_.size() == 1 ? "" : "s", total_steps_, epoch_at(total_steps_)));
  if (start_.step > 0) progress.say(fmt::format("goes on after step {}", start_.step));
}

template <class T>
TrainingSummary Trainer<T>::run(RunFolder* folder, Progress& progress) {
  const auto begin = Clock::now();
  const StopSignal signal;
  announce(progress);
  std::int64_t step = start_.step;
  if (step == 0) {
    write_checkpoint_file(folder, 0);
  } else {
    last_checkpoint_ = checkpoint_path(options_.out, step);
  }
  bool stop = false;
  while (step < total_steps_ && !stop) {
    const StepOutcome outcome = train_step(++step, signal);
    stop = outcome.stop;
    progress.step(progress_state(step, outcome, outcome.loss));
    if (step % options_.log_every == 0 || step == total_steps_ || stop)
      log_interval(folder, progress, step, outcome);
    if (options_.eval_every > 0 && step % options_.eval_every == 0 && !stop) evaluate(folder, progress, step);
    if (step == total_steps_ || stop ||
        (options_.checkpoint_every > 0 && step % options_.checkpoint_every == 0)) {
      write_checkpoint_file(folder, step);
    }
  }
  std::array<std::int64_t, 1> peak{peak_memory_bytes()};
  communicator_.all_reduce_max(peak);
  if (stop)
    progress.say(fmt::format("stopped by a signal after step {}; '--resume {}' goes on", step, options_.out));
  return {.steps = step,
          .loss = last_loss_,
          .seconds = seconds_since(begin),
          .tokens_per_second = step_seconds_ > 0 ? tokens_ / step_seconds_ : 0,
          .peak_memory = peak[0],
          .stopped_by_signal = stop,
          .checkpoint = last_checkpoint_};
}

void check_batch(const TrainingOptions& options, const Communicator& communicator) {
  if (options.global_batch < communicator.size()) {
    fail_usage("--global-batch {} is smaller than the number of ranks, {}: some would never have a query",
               options.global_batch, communicator.size());
  }
}

TrainingSummary run_training(const TrainingOptions& options, const CheckpointReader* resume,
                             Communicator& communicator) {
  options.validate();
  check_batch(options, communicator);
  set_threads(options.threads);
  const TokenStore store = read_token_store(options.data);
  if (options.eval_every > 0) store.split(options.eval_split);
  std::optional<CheckpointReader> init;
  if (resume == nullptr && !options.init.empty()) init.emplace(resolve_checkpoint(options.init));
  const CheckpointReader* model = init ? &*init : resume;
  const auto run_with = [&](auto trainer) {
    const bool root = communicator.rank() == 0;
    std::optional<RunFolder> folder;
    if (root) {
      folder = resume != nullptr ? RunFolder::resume(options.out, resume->meta().step)
                                 : RunFolder::create(options.out);
      if (resume == nullptr) folder->write_config(to_json(options));
    }
    Progress progress(root, fs::path(options.out) / "train.log");
    const TrainingSummary summary = trainer->run(root ? &*folder : nullptr, progress);
    progress.say(fmt::format("{} steps, {:.1f} s, {:.0f} tokens/s, peak memory {:.0f} MiB a rank; model: {}",
                             summary.steps, summary.seconds, summary.tokens_per_second,
                             static_cast<double>(summary.peak_memory) / (1 << 20),
                             summary.checkpoint.string()));
    return summary;
  };
  if (options.precision == "double") {
    return run_with(
        std::make_unique<Trainer<double>>(options, store, model, resume != nullptr, communicator));
  }
  return run_with(std::make_unique<Trainer<float>>(options, store, model, resume != nullptr, communicator));
}

}  // namespace

TrainingSummary train(const TrainingOptions& options, Communicator& communicator) {
  return run_training(options, nullptr, communicator);
}

TrainingSummary resume_training(const TrainingOptions& options, const CheckpointReader& checkpoint,
                                Communicator& communicator) {
  return run_training(options, &checkpoint, communicator);
}

}  // namespace toller
