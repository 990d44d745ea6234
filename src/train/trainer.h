// A training run: the step loop, and around it checkpoints, metrics, evaluation and an orderly stop.
#pragma once

#include <cstdint>
#include <filesystem>

#include "checkpoint/checkpoint.h"
#include "comm/communicator.h"
#include "device/backend.h"
#include "train/training_checkpoints.h"
#include "train/training_options.h"

namespace toller {

struct TrainingSummary {
  std::int64_t steps = 0;            ///< the run stands at
  double loss = 0;                   ///< mean of the last log interval
  double seconds = 0;                ///< of this process's part of the run
  double tokens_per_second = 0;      ///< of all ranks, encoded tokens over the time in steps
  std::int64_t peak_memory = 0;      ///< bytes, of the rank that used most
  bool stopped_early = false;        ///< by a signal, or for the time limit
  std::filesystem::path checkpoint;  ///< the last one written
  CheckpointTimes checkpoints;
};

/// A new run into options.out. Collective: all ranks call it alike.
TrainingSummary train(const TrainingOptions& options, GpuBackends& gpus, Communicator& communicator);

/// Goes on from `checkpoint`, which belongs to the run folder options.out. The options are those of the
/// checkpoint but for what may change in mid-run (length of the run, logging, evaluation, threads).
TrainingSummary resume_training(const TrainingOptions& options, const CheckpointReader& checkpoint,
                                GpuBackends& gpus, Communicator& communicator);

}  // namespace toller
