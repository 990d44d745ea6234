// The model of `evaluate` and `encode` on the device that the user asked for.
#pragma once

#include <boost/program_options.hpp>
#include <cstdint>
#include <memory>

#include "cli/command.h"
#include "device/backend.h"
#include "error.h"
#include "eval/embedder.h"

namespace toller {

/// Computes in float unless --precision says otherwise: the same embeddings, up to rounding, on CPU and GPU.
/// `truncate` is what the flag of that name says; 0: not given.
inline std::unique_ptr<Embedder> open_embedder(const CheckpointReader& model, const DeviceOptions& device,
                                               const CommandContext& context, std::int64_t truncate) {
  const std::int64_t dimension = model.meta().encoder.hidden_size;
  if (truncate < 0 || truncate > dimension) {
    fail_usage("--truncate {}: the embeddings of {} have {} numbers, of which 1 to {} can stay", truncate,
               model.path().string(), dimension, dimension);
  }
  const DeviceChoice choice = choose_device(device, context.gpus, context.communicator, "float");
  return with_backend(choice, device, context.gpus, context.communicator, [&]<class T>(Backend<T> backend) {
    return std::make_unique<Embedder>(model, std::move(backend), truncate);
  });
}

/// The option --truncate, for options that go with a model.
inline void add_truncate_option(boost::program_options::options_description& options) {
  options.add_options()(
      "truncate", boost::program_options::value<std::int64_t>()->default_value(0, "all")->value_name("N"),
      "keep the first N numbers of each embedding, of unit length again if the model's are (for models "
      "trained with --matryoshka)");
}

}  // namespace toller
