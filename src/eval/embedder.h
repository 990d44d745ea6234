// Texts → embeddings with a trained model, for search and export: no activations kept, no dropout.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "checkpoint/checkpoint.h"
#include "comm/communicator.h"
#include "data/token_store.h"
#include "device/backend.h"

namespace toller {

class Embedder {
 public:
  /// Reads the model's parameters (fp32) into the backend, which it keeps. T is float or BFloat16. Embeddings
  /// are cut to their first `kept` numbers, and have unit length again if the model's have; 0: all numbers.
  /// Throws UsageError when that is more than the model's embeddings have.
  template <class T>
  Embedder(const CheckpointReader& model, Backend<T> backend, std::int64_t kept = 0);
  /// From parameters in memory of the device of `ops` (flat, as `table` says). Both must outlive this object;
  /// steps of `ops` that are in progress end here.
  template <class T>
  Embedder(const EncoderConfig& config, const ParameterTable& table, Ops<T>& ops, const T* parameters,
           std::int64_t kept = 0);
  ~Embedder();
  Embedder(const Embedder&) = delete;
  Embedder& operator=(const Embedder&) = delete;

  std::int64_t dimension() const;

  /// Embeddings of rows [first, last) into out [last − first, dimension], row-major, by the tower of `side`.
  void embed(const TokenTable& table, Side side, std::int64_t first, std::int64_t last, std::span<float> out);

  /// All rows, the work shared over ranks (each rank embeds a slice of about equal token counts) and gathered
  /// on all of them: out [table.rows(), dimension].
  void embed_all(const TokenTable& table, Side side, Communicator& communicator, std::span<float> out);

 private:
  class Model;
  template <class T>
  class ModelOn;
  template <class T>
  class OwnedModel;
  std::unique_ptr<Model> model_;
};

}  // namespace toller
