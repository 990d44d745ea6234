// Texts → embeddings with a trained model, for search and export: no activations kept, no dropout.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "checkpoint/checkpoint.h"
#include "comm/communicator.h"
#include "data/token_store.h"

namespace toller {

class Embedder {
 public:
  /// Reads the model's parameters (fp32). Uses the OpenMP threads of this process.
  explicit Embedder(const CheckpointReader& model);
  /// From parameters in memory (flat, as `table` says), which are copied.
  Embedder(const EncoderConfig& config, const ParameterTable& table, std::span<const float> parameters);
  ~Embedder();
  Embedder(const Embedder&) = delete;
  Embedder& operator=(const Embedder&) = delete;

  std::int64_t dimension() const;

  /// Embeddings of rows [first, last) into out [last − first, dimension], row-major.
  void embed(const TokenTable& table, std::int64_t first, std::int64_t last, std::span<float> out);

  /// All rows, the work shared over ranks (each rank embeds a slice of about equal token counts) and gathered
  /// on all of them: out [table.rows(), dimension].
  void embed_all(const TokenTable& table, Communicator& communicator, std::span<float> out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace toller
