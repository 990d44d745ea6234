#include "train/trainer.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <deque>
#include <memory>
#include <optional>
#include <type_traits>

#include "checkpoint/checkpoint.h"
#include "device/cpu/threads.h"
#include "error.h"
#include "eval/evaluation.h"
#include "optim/schedule.h"
#include "seconds_since.h"
#include "text/tokenizer.h"
#include "train/gradient_sums.h"
#include "train/parameter_update.h"
#include "train/progress.h"
#include "train/rank_agreement.h"
#include "train/run_folder.h"
#include "train/skipped_steps.h"
#include "train/split_evaluation.h"
#include "train/step_log.h"
#include "train/stop_signal.h"
#include "train/time_limit.h"
#include "train/training_checkpoints.h"
#include "train/training_data.h"
#include "train/training_step.h"

namespace toller {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// A message of a few MiB keeps an all-reduce at full speed.
constexpr std::int64_t kBucketElements = 1 << 20;

/// A learned temperature stays in here, as CLIP's is kept from running away.
constexpr double kLeastTemperature = 0.001, kGreatestTemperature = 100;

/// Batches whose need of memory is found out before a run.
constexpr std::int64_t kPlannedBatches = 256;
/// For what kernels and libraries take while they run.
constexpr std::int64_t kKernelMemory = std::int64_t{256} << 20;

/// Bytes a second that a disk takes at least; until a checkpoint has been measured.
constexpr double kSlowDisk = 50e6;

double gibibytes(std::int64_t bytes) {
  return static_cast<double>(bytes) / (1 << 30);
}

std::int64_t peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

std::vector<std::string> data_set_names(const TrainingData& data) {
  std::vector<std::string> names;
  for (const auto& set : data.sets()) names.push_back(set->name);
  return names;
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
  using Real = RealOf<T>;

  /// `model`: the checkpoint to go on from (`resumes`) or to take the parameters of; null: random ones.
  Trainer(const TrainingOptions& options, TrainingData& data, const CheckpointReader* model, bool resumes,
          Communicator& communicator, Backend<T> backend)
      : options_(options),
        data_(data),
        communicator_(communicator),
        start_(find_start(model, resumes)),
        table_(start_.encoder),
        shards_(table_, gradient_buckets(start_.encoder, table_, kBucketElements), communicator.size()),
        backend_(std::move(backend)),
        ops_(*backend_.ops),
        step_(
            start_.encoder, table_, ops_, *backend_.communicator,
            {.max_length = longest_text(), .micro_batch = options.micro_batch, .dropout_seed = options.seed}),
        update_(table_, shards_, options.zero > 0,
                {options.adam_beta1, options.adam_beta2, options.adam_epsilon, options.weight_decay,
                 options.clip},
                ops_, *backend_.communicator),
        parameters_(ops_, table_.size()),
        gradients_(ops_, table_.size()),
        losses_(ops_, options.accumulate),
        hash_(ops_, 1),
        log_temperature_(table_.at("loss.log_temperature").offset),
        pair_log_temperature_(ops_, 1),
        skipped_(options.max_skipped_steps),
        time_limit_(options.time_limit_seconds(),
                    3.0 * sizeof(Real) * static_cast<double>(table_.size()) / kSlowDisk),
        total_steps_(options.steps > 0 ? options.steps : steps_in_epochs()),
        log_(data_set_names(data), start_.step, total_steps_,
             [this](std::int64_t step) { return epoch_at(step); }),
        checkpoints_({.run = options.out,
                      .keep = options.keep,
                      .layout = checkpoint_layout_from_name("--checkpoint-files", options.checkpoint_files),
                      .verifies = options.verify},
                     table_, shards_, communicator) {
    pair_log_temperature_.write(std::vector{static_cast<Real>(std::log(options.pair_temperature))});
    for (const auto& set : data.sets()) {
      losses_of_set_.push_back(
          make_loss<T>(set->losses, options.loss_settings(start_.encoder), ops_, *backend_.score_ops));
    }
    fill_parameters(model, resumes);
    if (options.learn_temperature) {
      update_.clamp_log_temperature(std::log(kLeastTemperature), std::log(kGreatestTemperature));
    }
    if (backend_.has_own_memory) reserve_memory();
    schedule_ = {.peak = options.lr,
                 .decay = decay_from_name(options.schedule),
                 .warmup_steps = warmup_steps(),
                 .total_steps = total_steps_};
  }

  TrainingSummary run(RunFolder* folder, Progress& progress);

 private:
  std::int32_t longest_text() const {
    return options_.max_length > 0 ? std::min(options_.max_length, data_.max_length()) : data_.max_length();
  }
  std::int64_t steps_in_epochs() const;
  std::int64_t warmup_steps() const;
  double epoch_at(std::int64_t step) const;

  Start find_start(const CheckpointReader* model, bool resumes) const;
  void check_fits(const CheckpointReader& model) const;
  void fill_parameters(const CheckpointReader* model, bool resumes);

  /// The largest need of the first batches of the run.
  StepMemory memory_needed(std::int64_t micro_batch);
  /// Takes the memory of the steps before the first one; Error with the numbers when the device has less.
  void reserve_memory();
  std::string micro_batch_advice(std::int64_t available);

  /// A step that was queued and whose results the host has not read.
  struct PendingStep {
    std::int64_t step = 0;
    double learning_rate = 0;
    std::vector<std::int64_t> losses;     ///< tickets, a batch each
    std::vector<std::int64_t> data_sets;  ///< where the batches come from
    std::int64_t squared_norm = 0, log_temperature = 0;
    std::int64_t hash = 0;  ///< of the parameters after it, where `is_checked`
    bool is_checked = false;
    double tokens = 0;     ///< of all ranks
    bool told = false;     ///< a rank was told to stop
    bool late = false;     ///< a rank's time is up
    bool written = false;  ///< all ranks have written their share of the checkpoint in flight
    bool stops() const { return told || late; }
  };
  TrainingTask<T> task(std::int64_t data_set) const {
    const TrainingDataSet& set = data_.set(data_set);
    return {set.store, *set.plan, *losses_of_set_[data_set]};
  }
  StepParameters<T> parameters_for(std::int64_t data_set) const {
    if (data_.set(data_set).store.task == Task::kSimilarity) {
      return {step_parameters(), pair_log_temperature_.data(), false};
    }
    return {step_parameters(), parameters_.data() + log_temperature_, options_.learn_temperature};
  }
  PendingStep queue_step(std::int64_t step, const StopSignal& signal);
  void queue_update(PendingStep& pending);
  bool is_time_up() const;
  /// Waits for a step's results, checks them and adds them to the totals.
  StepOutcome finish_step(const PendingStep& pending, Progress& progress);
  /// Error when too many steps in a row were skipped.
  void note_skipped(const PendingStep& pending, const StepOutcome& outcome, Progress& progress);
  bool checks_ranks() const { return options_.check_ranks_every > 0 && communicator_.size() > 1; }
  void compare_ranks(std::int64_t step, std::uint64_t hash) {
    require_same_on_all_ranks(hash, fmt::format("after step {}, the parameters", step), communicator_);
  }
  const T* step_parameters() const;

  TextForm text_form() const;
  CheckpointMeta checkpoint_meta(std::int64_t step) const;
  /// Begins a checkpoint; the one before is finished first.
  void start_checkpoint(std::int64_t step);
  /// Waits until the checkpoint in flight, if any, is there.
  void finish_checkpoint() {
    if (checkpoints_.is_in_flight()) time_limit_.checkpoint_took(checkpoints_.finish());
  }
  void say_why_stopped(Progress& progress, std::int64_t step, bool told) const;
  void evaluate(RunFolder* folder, Progress& progress, std::int64_t step);
  void announce(Progress& progress) const;

  const TrainingOptions& options_;
  TrainingData& data_;
  Communicator& communicator_;
  Start start_;
  ParameterTable table_;
  ParameterShards shards_;
  Backend<T> backend_;
  Ops<T>& ops_;
  std::vector<std::unique_ptr<Loss<T>>> losses_of_set_;
  TrainingStep<T> step_;
  ParameterUpdate<T> update_;
  DeviceBuffer<Real> parameters_, gradients_;
  DeviceBuffer<T> copy_;         ///< of the parameters, where T is not Real
  DeviceBuffer<double> losses_;  ///< of a step's batches
  DeviceBuffer<std::uint64_t> hash_;
  std::int64_t log_temperature_;
  DeviceBuffer<Real> pair_log_temperature_;  ///< of the losses on scored pairs
  SkippedSteps skipped_;
  TimeLimit time_limit_;
  std::int64_t total_steps_;
  Schedule schedule_;
  StepLog log_;
  TrainingCheckpoints<Real> checkpoints_;
  Clock::time_point begin_ = Clock::now();
};

template <class T>
std::int64_t Trainer<T>::steps_in_epochs() const {
  const double batches = options_.epochs * static_cast<double>(data_.batches_per_epoch());
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
  return static_cast<double>(step * options_.accumulate) / static_cast<double>(data_.batches_per_epoch());
}

template <class T>
void Trainer<T>::check_fits(const CheckpointReader& model) const {
  check_same_tokenizer(model, data_.set(0).store);
  const std::int32_t most = model.meta().encoder.max_positions;
  if (most < longest_text()) {
    fail("{}: the model takes texts of at most {} tokens, the data has longer ones; give --max-length {}",
         model.path().string(), most, most);
  }
}

template <class T>
Start Trainer<T>::find_start(const CheckpointReader* model, bool resumes) const {
  if (model == nullptr) {
    return {.encoder = encoder_config_for(options_, data_.vocabulary_size(), longest_text()),
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
  std::vector<Real> values(static_cast<std::size_t>(table_.size()));
  if (model == nullptr) {
    initialize_parameters(start_.encoder, table_, options_.seed, values.data());
  } else {
    model->read_parameters(std::span<Real>(values));
  }
  std::vector<Real> m, v;
  if (resumes) {
    m.resize(values.size());
    v.resize(values.size());
    model->read_moments(std::span<Real>(m), std::span<Real>(v));
    skipped_.resume(model->meta().state);
  } else {
    values[log_temperature_] = static_cast<Real>(std::log(options_.temperature));
  }
  update_.start(values, m, v);
  parameters_.write(values);
  if constexpr (!std::is_same_v<T, Real>) {
    copy_ = DeviceBuffer<T>(ops_, table_.size());
    ops_.convert(table_.size(), parameters_.data(), copy_.data());
  }
}

template <class T>
StepMemory Trainer<T>::memory_needed(std::int64_t micro_batch) {
  StepMemory most;
  const std::int64_t first = start_.step * options_.accumulate, last = total_steps_ * options_.accumulate;
  for (std::int64_t index = first; index < std::min(last, first + kPlannedBatches); ++index) {
    const TrainingData::Batch drawn = data_.batch(index);
    most.cover(step_.memory_needed(task(drawn.data_set), drawn.batch, micro_batch));
  }
  return most;
}

template <class T>
std::string Trainer<T>::micro_batch_advice(std::int64_t available) {
  const std::int64_t share = (options_.global_batch + communicator_.size() - 1) / communicator_.size();
  for (std::int64_t micro_batch = share / 2; micro_batch >= 1; micro_batch /= 2) {
    const std::int64_t needed = memory_needed(micro_batch).total();
    if (needed + kKernelMemory <= available) {
      return fmt::format("--micro-batch {} needs {:.2f} GiB and gives the same result", micro_batch,
                         gibibytes(needed + kKernelMemory));
    }
  }
  return "no --micro-batch helps; use more ranks, a smaller --global-batch or a smaller model";
}

template <class T>
void Trainer<T>::reserve_memory() {
  StepMemory memory = memory_needed(options_.micro_batch);
  const std::int64_t available = ops_.free_bytes();
  if (memory.total() + kKernelMemory > available) {
    fail(
        "a step needs {:.2f} GiB on {} ({:.2f} activations, {:.2f} backward pass, {:.2f} embeddings, {:.2f} "
        "loss, {:.2f} kernels), {:.2f} GiB are free beside {} parameters with gradients and moments; {}",
        gibibytes(memory.total() + kKernelMemory), backend_.name, gibibytes(memory.activations),
        gibibytes(memory.scratch), gibibytes(memory.embeddings), gibibytes(memory.loss),
        gibibytes(kKernelMemory), gibibytes(available), table_.size(), micro_batch_advice(available));
  }
  // Later batches may be a little larger; where there is room, they need no new allocation.
  for (std::int64_t* part : {&memory.embeddings, &memory.activations, &memory.scratch}) {
    *part += std::min(*part / 16, (available - kKernelMemory - memory.total()) / 4);
  }
  step_.reserve(memory);
}

template <class T>
const T* Trainer<T>::step_parameters() const {
  if constexpr (std::is_same_v<T, Real>) {
    return parameters_.data();
  } else {
    return copy_.data();
  }
}

template <class T>
typename Trainer<T>::PendingStep Trainer<T>::queue_step(std::int64_t step, const StopSignal& signal) {
  PendingStep pending;
  pending.step = step;
  pending.learning_rate = schedule_.at(step);
  // Tokens, ranks that were told to stop, ranks whose time is up, ranks that still write a checkpoint.
  std::array<double, 4> sums{};
  ops_.zero(gradients_.data(), table_.size());
  for (std::int64_t a = 0; a < options_.accumulate; ++a) {
    const std::int64_t index = (step - 1) * options_.accumulate + a;
    double* loss = losses_.data() + a;
    const TrainingData::Batch drawn = data_.batch(index);
    const StepWork work = step_.run(task(drawn.data_set), drawn.batch, index, parameters_for(drawn.data_set),
                                    1.0 / static_cast<double>(options_.accumulate), {gradients_.data(), loss},
                                    a + 1 == options_.accumulate ? &update_.sums() : nullptr);
    pending.losses.push_back(ops_.start_read(loss, sizeof(double)));
    pending.data_sets.push_back(drawn.data_set);
    sums[0] += static_cast<double>(work.tokens);
  }
  queue_update(pending);
  pending.is_checked = checks_ranks() && step % options_.check_ranks_every == 0;
  if (pending.is_checked) {
    ops_.content_hash(parameters_.data(), table_.size(), hash_.data());
    pending.hash = ops_.start_read(hash_.data(), sizeof(std::uint64_t));
  }
  sums[1] = signal.received() != 0 ? 1 : 0;
  sums[2] = is_time_up() ? 1 : 0;
  sums[3] = checkpoints_.is_in_flight() && !checkpoints_.is_written() ? 1 : 0;
  communicator_.all_reduce_sum(std::span<double>(sums));
  pending.tokens = sums[0];
  pending.told = sums[1] > 0;
  pending.late = sums[2] > 0;
  pending.written = checkpoints_.is_in_flight() && sums[3] == 0;
  return pending;
}

template <class T>
bool Trainer<T>::is_time_up() const {
  return time_limit_.is_reached(seconds_since(begin_), 1 + static_cast<double>(backend_.steps_ahead));
}

template <class T>
void Trainer<T>::queue_update(PendingStep& pending) {
  update_.update(pending.step, pending.learning_rate, gradients_.data(), parameters_.data(), copy_.data());
  pending.squared_norm = ops_.start_read(update_.squared_norm(), sizeof(double));
  pending.log_temperature = ops_.start_read(parameters_.data() + log_temperature_, sizeof(Real));
}

template <class T>
StepOutcome Trainer<T>::finish_step(const PendingStep& pending, Progress& progress) {
  StepOutcome outcome{.learning_rate = pending.learning_rate};
  double squared_norm = 0;
  std::vector<BatchOutcome> batches;
  for (std::size_t a = 0; a < pending.losses.size(); ++a) {
    BatchOutcome& batch = batches.emplace_back(BatchOutcome{.data_set = pending.data_sets[a]});
    ops_.finish_read(pending.losses[a], &batch.loss);
    outcome.loss += batch.loss / static_cast<double>(options_.accumulate);
  }
  ops_.finish_read(pending.squared_norm, &squared_norm);
  Real log_temperature = 0;
  ops_.finish_read(pending.log_temperature, &log_temperature);
  outcome.gradient_norm = std::sqrt(squared_norm);
  outcome.temperature = std::exp(static_cast<double>(log_temperature));
  // A loss that is not finite makes the norm so (TrainingStep::run), which the update goes by.
  outcome.skipped = !std::isfinite(outcome.gradient_norm);
  if (pending.is_checked) {
    std::uint64_t hash = 0;
    ops_.finish_read(pending.hash, &hash);
    compare_ranks(pending.step, hash);
  }
  time_limit_.step_took(log_.add(outcome, batches, pending.tokens));
  if (outcome.skipped) {
    note_skipped(pending, outcome, progress);
  } else {
    skipped_.step_was_made();
  }
  return outcome;
}

template <class T>
void Trainer<T>::note_skipped(const PendingStep& pending, const StepOutcome& outcome, Progress& progress) {
  skipped_.step_was_skipped();
  std::vector<std::string> names;
  for (const std::size_t tensor : update_.tensors_not_finite(pending.step, communicator_)) {
    names.push_back(table_.tensors()[tensor].name);
  }
  const std::string what = fmt::format("step {}: the loss is {} and the gradient is not finite (in {})",
                                       pending.step, outcome.loss, name_some(names));
  if (skipped_.too_many()) {
    fail(
        "{}: {} in a row cannot be made, --max-skipped-steps is {}; a lower --lr or --clip may help. "
        "The last checkpoint is {}",
        what, skipped_.in_a_row(), options_.max_skipped_steps, checkpoints_.last().string());
  }
  progress.say(
      fmt::format("{}: skipped, {} in a row, {} in all", what, skipped_.in_a_row(), skipped_.total()));
}

/// That of the first data set: its texts are those that the model is evaluated on.
template <class T>
TextForm Trainer<T>::text_form() const {
  TextForm form = data_.set(0).store.form;
  for (SideForm* side : {&form.queries, &form.documents}) {
    if (side->max_length == 0 || side->max_length > longest_text()) side->max_length = longest_text();
  }
  return form;
}

template <class T>
CheckpointMeta Trainer<T>::checkpoint_meta(std::int64_t step) const {
  CheckpointMeta meta{.encoder = start_.encoder,
                      .training = to_json(options_),
                      .state = {{"step", step},
                                {"batches", step * options_.accumulate},
                                {"steps_per_epoch", data_.batches_per_epoch()},
                                {"ranks", communicator_.size()}},
                      .origin = start_.origin,
                      .step = step,
                      .tokenizer = data_.tokenizer(),
                      .form = text_form()};
  skipped_.write_to(meta.state);
  return meta;
}

template <class T>
void Trainer<T>::start_checkpoint(std::int64_t step) {
  finish_checkpoint();
  checkpoints_.start(checkpoint_meta(step), [&](CheckpointShare<Real>& share) {
    update_.read_own(parameters_.data(), share.parameters, share.m, share.v);
  });
}

template <class T>
void Trainer<T>::evaluate(RunFolder* folder, Progress& progress, std::int64_t step) {
  const auto begin = Clock::now();
  Embedder embedder(start_.encoder, table_, ops_, step_parameters());
  nlohmann::ordered_json line{{"step", step}};
  for (const auto& set : data_.sets()) {
    const Split* split = set->split_to_evaluate(options_.eval_split);
    if (split == nullptr) continue;
    const std::string what = (data_.count() > 1 ? set->name + "/" : "") + split->name;
    const std::string figures =
        evaluate_split(embedder, set->store, *split, options_.eval_queries, what, communicator_, line);
    progress.say(fmt::format("step {}: {} {}", step, what, figures));
  }
  if (folder != nullptr) folder->append_metrics(line);
  time_limit_.evaluation_took(seconds_since(begin));
}

template <class T>
void Trainer<T>::announce(Progress& progress) const {
  progress.say(
      fmt::format("{} parameters ({} layers, hidden size {}, {} heads), {}, global batch {} over {} rank{}, "
                  "{} steps of {:.2f} epochs, on {}",
                  table_.size(), start_.encoder.layers, start_.encoder.hidden_size, start_.encoder.heads,
                  data_.description(), options_.global_batch, communicator_.size(),
                  communicator_.size() == 1 ? "" : "s", total_steps_, epoch_at(total_steps_), backend_.name));
  if (start_.step > 0) progress.say(fmt::format("goes on after step {}", start_.step));
}

template <class T>
void Trainer<T>::say_why_stopped(Progress& progress, std::int64_t step, bool told) const {
  const std::string cause =
      told ? "by a signal" : fmt::format("for the --time-limit {}", options_.time_limit);
  progress.say(fmt::format("stopped {} after step {}; '--resume {}' goes on", cause, step, options_.out));
}

template <class T>
TrainingSummary Trainer<T>::run(RunFolder* folder, Progress& progress) {
  const auto begin = Clock::now();
  const StopSignal signal;
  announce(progress);
  std::int64_t step = start_.step;
  if (checks_ranks()) {
    std::array<std::uint64_t, 1> hash{};
    ops_.content_hash(parameters_.data(), table_.size(), hash_.data());
    hash_.read(hash);
    compare_ranks(step, hash[0]);
  }
  if (step == 0) {
    start_checkpoint(0);
    finish_checkpoint();
  } else {
    checkpoints_.go_on_from(step);
  }
  bool stop = false, told = false;
  log_.begin_steps();
  std::deque<PendingStep> pending;
  // The device has the next step queued while the host looks at the results of the last one.
  const auto finish_oldest = [&] {
    const StepOutcome outcome = finish_step(pending.front(), progress);
    const std::int64_t at = pending.front().step;
    const bool last = at == total_steps_ || pending.front().stops();
    pending.pop_front();
    progress.step(log_.state(at, outcome, outcome.loss));
    if (at % options_.log_every == 0 || last) log_.write(folder, progress, at, outcome, skipped_.total());
  };
  while (step < total_steps_ && !stop) {
    pending.push_back(queue_step(++step, signal));
    stop = pending.back().stops();
    told = pending.back().told;
    const bool written = pending.back().written;
    const bool evaluates = options_.eval_every > 0 && step % options_.eval_every == 0 && !stop;
    const bool writes = step == total_steps_ || stop ||
                        (options_.checkpoint_every > 0 && step % options_.checkpoint_every == 0);
    const std::size_t left = evaluates || writes ? 0 : backend_.steps_ahead;
    while (pending.size() > left) finish_oldest();
    if (written) finish_checkpoint();
    if (evaluates) evaluate(folder, progress, step);
    if (writes) start_checkpoint(step);
    if (evaluates || writes) log_.begin_steps();
  }
  finish_checkpoint();
  std::array<std::int64_t, 1> peak{peak_memory_bytes()};
  communicator_.all_reduce_max(peak);
  if (stop) say_why_stopped(progress, step, told);
  return {.steps = step,
          .loss = log_.last_loss(),
          .seconds = seconds_since(begin),
          .tokens_per_second = log_.tokens_per_second(),
          .peak_memory = peak[0],
          .stopped_early = stop,
          .checkpoint = checkpoints_.last(),
          .checkpoints = checkpoints_.times()};
}

void check_batch(const TrainingOptions& options, const Communicator& communicator) {
  if (options.global_batch < communicator.size()) {
    fail_usage("--global-batch {} is smaller than the number of ranks, {}: some would never have a query",
               options.global_batch, communicator.size());
  }
}

/// At least one data set must have the split to evaluate on.
void check_eval_split(const TrainingOptions& options, const TrainingData& data) {
  const auto has_split = [&](const auto& set) {
    return set->split_to_evaluate(options.eval_split) != nullptr;
  };
  if (options.eval_every == 0 || std::ranges::any_of(data.sets(), has_split)) return;
  data.set(0).store.split(options.eval_split);  // fails with the names that there are
}

TrainingSummary run_training(const TrainingOptions& options, const CheckpointReader* resume,
                             GpuBackends& gpus, Communicator& communicator) {
  options.validate();
  check_batch(options, communicator);
  set_threads(options.threads);
  TrainingData data(options);
  check_eval_split(options, data);
  std::optional<CheckpointReader> init;
  if (resume == nullptr && !options.init.empty()) init.emplace(resolve_checkpoint(options.init));
  const CheckpointReader* model = init ? &*init : resume;
  const DeviceChoice choice = choose_device(options.machine, gpus, communicator);
  return with_backend(choice, options.machine, gpus, communicator, [&]<class T>(Backend<T> backend) {
    const auto trainer = std::make_unique<Trainer<T>>(options, data, model, resume != nullptr, communicator,
                                                      std::move(backend));
    const bool root = communicator.rank() == 0;
    std::optional<RunFolder> folder;
    if (root) {
      folder = resume != nullptr ? RunFolder::resume(options.out, resume->meta().step)
                                 : RunFolder::create(options.out);
      if (resume == nullptr) folder->write_config(to_json(options));
    }
    Progress progress(root, fs::path(options.out) / "train.log");
    const TrainingSummary summary = trainer->run(root ? &*folder : nullptr, progress);
    if (const CheckpointTimes& times = summary.checkpoints; times.checkpoints > 0) {
      progress.say(fmt::format("{} checkpoint{}: {:.2f} s each, for {:.2f} s of which training waited",
                               times.checkpoints, times.checkpoints == 1 ? "" : "s", times.seconds,
                               times.stall));
    }
    progress.say(fmt::format("{} steps, {:.1f} s, {:.0f} tokens/s, peak memory {:.0f} MiB a rank; model: {}",
                             summary.steps, summary.seconds, summary.tokens_per_second,
                             static_cast<double>(summary.peak_memory) / (1 << 20),
                             summary.checkpoint.string()));
    return summary;
  });
}

}  // namespace

TrainingSummary train(const TrainingOptions& options, GpuBackends& gpus, Communicator& communicator) {
  return run_training(options, nullptr, gpus, communicator);
}

TrainingSummary resume_training(const TrainingOptions& options, const CheckpointReader& checkpoint,
                                GpuBackends& gpus, Communicator& communicator) {
  return run_training(options, &checkpoint, gpus, communicator);
}

}  // namespace toller
