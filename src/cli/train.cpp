#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint/checkpoint.h"
#include "checkpoint/run_checkpoints.h"
#include "cli/command.h"
#include "comm/exchange.h"
#include "comm/watched_communicator.h"
#include "error.h"

namespace toller {
namespace {

namespace po = boost::program_options;

/// A flag whose value lands in `field`; its default is the field's own.
template <class Value>
po::typed_value<Value>* into(Value& field, const char* name = "N") {
  return po::value<Value>(&field)->default_value(field)->value_name(name);
}

/// Numbers print as typed ("0.05"), not with all digits of a double.
po::typed_value<double>* into(double& field) {
  return po::value<double>(&field)->default_value(field, fmt::format("{}", field))->value_name("X");
}

po::typed_value<bool>* flag(bool& field) {
  return po::bool_switch(&field);
}

po::options_description declare_options(TrainingOptions& options, std::string& resume) {
  po::options_description run("Data and run");
  run.add_options()(
      "data", po::value(&options.data)->value_name("FILE"),
      "token store that `toller prepare` wrote; given several times, every batch comes from one of "
      "them, and takes those losses that fit what it holds")(
      "data-weights", into(options.data_weights, "W,W"),
      "shares of the data sets in the batches; default: by size")("data-alpha", into(options.data_alpha),
                                                                  "by size to that power; 0: equal shares")(
      "forget", into(options.forget, "FILE"),
      "another token store, whose judgements the model is to unlearn (reverse-bpr)")(
      "forget-weight", into(options.forget_weight), "of that loss")(
      "out", po::value(&options.out)->value_name("DIR"),
      "folder of the run: checkpoints, metrics.jsonl, config.json")(
      "resume", po::value(&resume)->value_name("DIR"),
      "go on with the run in DIR from its newest valid checkpoint, with its options; of the flags only the "
      "length of "
      "the run, logging, evaluation, checkpoints, checks and threads may be changed")(
      "split", into(options.split, "NAME"), "split of the store to train on")(
      "steps", into(options.steps), "optimiser steps; 0: as many as --epochs makes")(
      "epochs", into(options.epochs), "passes over the queries")(
      "seed", into(options.seed), "of initialisation, order, sampling and dropout")(
      "checkpoint-every", into(options.checkpoint_every), "steps between checkpoints; 0: one at the end")(
      "keep", into(options.keep), "newest checkpoints to keep, step 0 not counted; 0: all")(
      "checkpoint-files", into(options.checkpoint_files, "NAME"),
      "one: all ranks write one file together; per-rank: a file each, and one that lists them")(
      "verify", flag(options.verify), "read every checkpoint back from the disk before it counts")(
      "eval-every", into(options.eval_every), "steps between evaluations; 0: none")(
      "eval-split", into(options.eval_split, "NAME"), "split to evaluate on")(
      "eval-queries", into(options.eval_queries), "queries of it to use; 0: all")(
      "log-every", into(options.log_every), "steps between lines of the log and of metrics.jsonl")(
      "max-skipped-steps", into(options.max_skipped_steps),
      "steps in a row that may be left out because their gradient is not finite; one more ends the run")(
      "check-ranks-every", into(options.check_ranks_every),
      "steps between comparisons of the parameters over ranks, which must be equal; 0: none")(
      "time-limit", into(options.time_limit, "TIME"),
      "seconds or hours:minutes:seconds, from the start of the program: stop before it with a checkpoint and "
      "status 0; 0: none");

  po::options_description model("Model");
  model.add_options()("preset", into(options.preset, "NAME"),
                      "tiny (2 layers, 128), mini (4, 256), minilm (6, 384) or base (12, 768)")(
      "init", into(options.init, "FILE"), "start from this checkpoint (or run folder) instead of at random")(
      "layers", into(options.layers), "layers, instead of the preset's")(
      "hidden-size", into(options.hidden_size), "width, instead of the preset's")(
      "heads", into(options.heads), "attention heads, instead of the preset's")(
      "intermediate-size", into(options.intermediate_size), "width of the feed-forward part")(
      "pooling", into(options.pooling, "NAME"), "mean, cls or last token")(
      "separate-towers", flag(options.separate_towers),
      "queries and documents have encoders of their own; with --init of a model with one, both begin as "
      "that")("no-normalize", flag(options.no_normalize), "scores are plain dot products, not cosines")(
      "dropout", into(options.dropout), "of hidden states and of attention probabilities")(
      "max-length", into(options.max_length), "tokens a text; longer ones are cut; 0: the store's");

  po::options_description batches("Batches and loss");
  batches.add_options()("global-batch", into(options.global_batch), "queries a batch, over all ranks")(
      "micro-batch", into(options.micro_batch),
      "queries encoded at a time on a rank, to bound memory; the result is the same; 0: all")(
      "accumulate", into(options.accumulate), "batches whose gradients make one step")(
      "positives", into(options.positives), "relevant documents drawn for a query")(
      "hard-negatives", into(options.hard_negatives), "documents judged not relevant drawn for a query")(
      "sampling", into(options.sampling, "NAME"),
      "of these: by grade, hard-first (nearest to the border of relevance) or random")(
      "loss",
      po::value<std::vector<std::string>>(&options.loss)
          ->default_value(options.loss, fmt::format("{}", fmt::join(options.loss, " ")))
          ->value_name("NAME[:WEIGHT]"),
      "given several times, their weighted sum; 'toller losses' lists them")(
      "temperature", into(options.temperature), "of the scores")(
      "learn-temperature", flag(options.learn_temperature), "train the temperature too")(
      "pair-temperature", into(options.pair_temperature),
      "of the losses on scored pairs, which do not train it")(
      "symmetric", flag(options.symmetric),
      "infonce: average with the loss of the documents over the queries")(
      "mw-scope", into(options.mw_scope, "NAME"), "mw: pairs of scores of the whole batch, or of one query")(
      "list-scale", into(options.list_scale),
      "by which the pairwise losses multiply scores; 0: 1 for bpr, 5 for the others")(
      "margin", into(options.margin), "hinge")("teacher-temperature", into(options.teacher_temperature),
                                               "kl: of the teacher's scores")(
      "negatives", into(options.negatives, "NAME"),
      "hinge, bpr, reverse-bpr: batch (all other documents of the batch) or own (the query's documents of "
      "grade 0)")("hinge-negatives", into(options.hinge_negatives, "NAME"),
                  "that a positive meets: all, hardest (highest score) or semi-hard (highest below the "
                  "positive's)")(
      "hinge-weights", into(options.hinge_weights, "X,X"),
      "of the two directions with --negatives batch: queries meet documents, documents meet queries")(
      "uniformity", into(options.uniformity, "NAME"),
      "alignment-uniformity: calibrated (documents of one query drive each other apart less) or plain")(
      "uniformity-weight", into(options.uniformity_weight),
      "alignment-uniformity: of the uniformities against the alignment")(
      "pg-samples", into(options.pg_samples), "pg-rank: rankings drawn a query")(
      "pg-cutoff", into(options.pg_cutoff), "pg-rank: k of nDCG@k")(
      "matryoshka", into(options.matryoshka, "N,N,…"),
      "dimensions from large to small: the sum of the loss over embeddings cut to each of them, so that the "
      "first numbers of an embedding are one themselves; empty: embeddings as they are");

  po::options_description optimiser("Optimiser");
  optimiser.add_options()("lr", into(options.lr), "highest learning rate")(
      "schedule", into(options.schedule, "NAME"), "after the warm-up: linear, cosine or constant")(
      "warmup", into(options.warmup), "steps of warm-up; below 1: a share of all steps")(
      "weight-decay", into(options.weight_decay), "decoupled; none on biases and norms")(
      "clip", into(options.clip), "greatest norm of the whole gradient; 0: no clipping")(
      "adam-beta1", into(options.adam_beta1), "decay of the first moment")(
      "adam-beta2", into(options.adam_beta2), "decay of the second moment")(
      "adam-epsilon", into(options.adam_epsilon), "added to the root of the second moment")(
      "zero", into(options.zero),
      "1: each rank keeps and updates only its share of AdamW's moments (ZeRO stage 1); 0: all ranks all");

  po::options_description machine("Machine");
  add_device_options(machine, options.machine);
  machine.add_options()("threads", into(options.threads),
                        "a rank; 0: OMP_NUM_THREADS, or the machine's processors over its ranks");
  po::options_description all("Options");
  return all.add(run).add(model).add(batches).add(optimiser).add(machine);
}

/// Flags that may differ from those of the run that goes on.
const std::set<std::string> kResumable = {"steps",
                                          "epochs",
                                          "checkpoint-every",
                                          "keep",
                                          "checkpoint-files",
                                          "verify",
                                          "eval-every",
                                          "eval-split",
                                          "eval-queries",
                                          "log-every",
                                          "threads",
                                          "zero",
                                          "data",
                                          "forget",
                                          "device",
                                          "communicator",
                                          "timeout",
                                          "max-skipped-steps",
                                          "check-ranks-every",
                                          "time-limit"};

/// The options of the run in the checkpoint, with the flags given now laid over them.
TrainingOptions resumed_options(const CheckpointMeta& meta, const std::string& origin, const std::string& run,
                                const po::variables_map& values, const TrainingOptions& given) {
  const nlohmann::json now = to_json(given);
  nlohmann::json merged = meta.training;
  if (!merged.is_object()) fail("{}: holds no training options: the run cannot be resumed", origin);
  for (const auto& [name, value] : values) {
    if (value.defaulted() || !now.contains(name)) continue;
    if (kResumable.contains(name)) {
      merged[name] = now[name];
    } else if (merged.value(name, nlohmann::json()) != now[name]) {
      fail_usage(
          "--{} does not go with --resume: the run has {}, and a changed value would make it another run",
          name, merged.value(name, nlohmann::json()).dump());
    }
  }
  TrainingOptions options = training_options_from_json(merged, origin);
  const TrainingOptions before = training_options_from_json(meta.training, origin);
  if (options.data.size() != before.data.size()) {
    fail_usage("--data does not go with --resume: the run has {} data sets, not {}", before.data.size(),
               options.data.size());
  }
  if (options.forget.empty() != before.forget.empty()) {
    fail_usage("--forget does not go with --resume: the run {} to forget",
               before.forget.empty() ? "has nothing" : "has something");
  }
  options.out = run;
  return options;
}

/// The file that root finds, on every rank: ranks must not choose apart while files come and go.
std::filesystem::path checkpoint_to_resume(const std::string& run, Communicator& communicator) {
  std::string found;
  if (communicator.rank() == 0) {
    std::vector<std::string> skipped;
    found = newest_valid_checkpoint(run, skipped).string();
    for (const std::string& reason : skipped) fmt::print(stderr, "warning: skipped {}\n", reason);
  }
  broadcast_text(found, 0, communicator);
  return found;
}

/// --timeout for a clock.
std::chrono::milliseconds time_out(const TrainingOptions& options) {
  options.machine.validate();
  return std::chrono::milliseconds(std::llround(1000 * std::min(options.machine.timeout, 1e9)));
}

}  // namespace

int run_train(CommandContext& context) {
  TrainingOptions options;
  std::string resume;
  auto values = parse_options(
      context, "[mpirun -np N] toller train --data FILE --out DIR [options]",
      "Trains a text encoder for retrieval. Under mpirun every rank takes a part of each batch, "
      "and every query meets the documents of all ranks.",
      declare_options(options, resume));
  if (!values) return 0;
  po::notify(*values);
  if (resume.empty()) {
    if (options.data.empty()) fail_usage("the option --data is required");
    options.out = required_option(*values, "out");
    WatchedCommunicator watched(context.communicator, time_out(options), context.abort);
    train(options, context.gpus, watched);
    return 0;
  }
  if (!options.out.empty()) fail_usage("--out does not go with --resume: the run stays in its folder");
  const CheckpointReader checkpoint(checkpoint_to_resume(resume, context.communicator));
  const TrainingOptions resumed =
      resumed_options(checkpoint.meta(), checkpoint.path().string(), resume, *values, options);
  WatchedCommunicator watched(context.communicator, time_out(resumed), context.abort);
  resume_training(resumed, checkpoint, context.gpus, watched);
  return 0;
}

}  // namespace toller
