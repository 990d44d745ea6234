// What a training run is told. Field names are the command line's flags with underscores; the same names
// stand in RUN/config.json and in the checkpoints, so that `--config RUN/config.json` repeats a run.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "device/backend.h"
#include "loss/catalogue.h"
#include "model/config.h"

namespace toller {

struct TrainingOptions {
  std::vector<std::string> data;  ///< token stores
  std::string out;                ///< run folder
  std::string split = "train";
  std::string data_weights;  ///< "2,1": shares of the data sets in the batches; empty: by size
  double data_alpha = 1;     ///< by size to that power
  std::string forget;        ///< token store of what the model is to unlearn; empty: none
  double forget_weight = 1;

  // Model. With `init` the encoder is that of the checkpoint, otherwise preset and sizes (0: the preset's).
  std::string preset = "tiny";
  std::string init;
  std::int32_t layers = 0, hidden_size = 0, heads = 0, intermediate_size = 0;
  std::string pooling = "mean";
  bool separate_towers = false;  ///< with init: also where its model has one tower, which both begin as
  bool no_normalize = false;
  double dropout = 0.1;

  // Batches.
  std::int64_t global_batch = 64;
  std::int64_t micro_batch = 0;  ///< queries encoded at a time on a rank; 0: all
  std::int64_t accumulate = 1;   ///< batches a step
  std::int64_t positives = 1;
  std::int64_t hard_negatives = 0;
  std::string sampling = "grade";  ///< which of a query's documents are drawn
  std::int32_t max_length = 0;     ///< tokens a text; 0: the store's

  // Loss.
  std::vector<std::string> loss{"infonce"};  ///< names, "name:weight" for a weighted sum
  double temperature = 0.05;
  bool learn_temperature = false;
  double pair_temperature = 0.05;  ///< of the losses on scored pairs; never learned
  bool symmetric = false;
  std::string mw_scope = "batch";  ///< or "query"
  double list_scale = 0;           ///< c of the pairwise losses; 0: each its own
  double margin = 0.2;
  double teacher_temperature = 1;         ///< kl
  std::string negatives = "batch";        ///< of hinge, bpr and reverse-bpr; or "own"
  std::string hinge_negatives = "all";    ///< or "hardest", "semi-hard"
  std::string hinge_weights = "1,1";      ///< of the loss of the queries and of that of the documents
  std::string uniformity = "calibrated";  ///< or "plain"
  double uniformity_weight = 1;
  std::int32_t pg_samples = 16, pg_cutoff = 10;
  std::string matryoshka;  ///< "384,128,64": the loss of embeddings cut to each of these; empty: as they are

  // Optimiser.
  std::int64_t steps = 0;  ///< 0: `epochs` decides
  double epochs = 1;
  double lr = 1e-3;
  std::string schedule = "linear";
  double warmup = 0.1;  ///< steps, or a share of all steps when below 1
  double weight_decay = 0.01;
  double clip = 1;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  int zero = 0;  ///< 1: optimiser state is sharded over ranks (ZeRO stage 1)

  // The run.
  std::uint64_t seed = 1;
  std::int64_t checkpoint_every = 0;     ///< steps; 0: at the end alone
  std::int64_t keep = 3;                 ///< checkpoints besides step 0; 0: all
  std::string checkpoint_files = "one";  ///< or "per-rank"
  bool verify = false;                   ///< checkpoints are read back from the disk before they count
  std::int64_t eval_every = 0;           ///< steps; 0: never
  std::string eval_split = "dev";
  std::int64_t eval_queries = 500;
  std::int64_t log_every = 10;
  std::int64_t max_skipped_steps = 10;   ///< in a row, for gradients that are not finite
  std::int64_t check_ranks_every = 100;  ///< steps; 0: never
  std::string time_limit = "0";          ///< seconds or hours:minutes:seconds; 0: none
  DeviceOptions machine;
  int threads =
      0;  ///< a rank; 0: OMP_NUM_THREADS, or the processors shared out over the ranks of the machine

  std::vector<LossTerm> loss_terms() const;
  std::vector<double> data_weight_list() const;
  double time_limit_seconds() const;  ///< 0: none
  /// For that encoder; UsageError that names the flag where it does not have the dimensions that are wanted.
  LossSettings loss_settings(const EncoderConfig& encoder) const;
  std::vector<std::int64_t> matryoshka_dimensions() const;

  /// UsageError that names the flag for values out of range or that do not go together.
  void validate() const;
};

nlohmann::ordered_json to_json(const TrainingOptions& options);
/// Fields that are absent keep their defaults; `origin` names the source in errors.
TrainingOptions training_options_from_json(const nlohmann::json& json, const std::string& origin);

/// The encoder that the options ask for (without `init`), for a vocabulary and a longest text.
EncoderConfig encoder_config_for(const TrainingOptions& options, std::int32_t vocabulary_size,
                                 std::int32_t max_length);

}  // namespace toller
