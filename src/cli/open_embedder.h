// The model of `evaluate` and `encode` on the device that the user asked for.
#pragma once

#include <memory>

#include "cli/command.h"
#include "device/backend.h"
#include "eval/embedder.h"

namespace toller {

/// Computes in float unless --precision says otherwise: the same embeddings, up to rounding, on CPU and GPU.
inline std::unique_ptr<Embedder> open_embedder(const CheckpointReader& model, const DeviceOptions& device,
                                               const CommandContext& context) {
  const DeviceChoice choice = choose_device(device, context.gpus, context.communicator, "float");
  return with_backend(choice, device, context.gpus, context.communicator, [&]<class T>(Backend<T> backend) {
    return std::make_unique<Embedder>(model, std::move(backend));
  });
}

}  // namespace toller
