// One flat buffer holds all parameters; this table names its slices. Gradients and optimiser moments mirror
// it, so that all-reduce, clipping, the optimiser, checkpoints and fusion are loops over slices.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"

namespace toller {

struct TensorView {
  std::string name;                 ///< Hugging Face's name where there is one
  std::vector<std::int64_t> shape;  ///< row-major; a linear layer's weight is [out, in]
  std::int64_t offset = 0;          ///< first element in the flat buffer
  std::int64_t size = 0;            ///< elements
  bool decay = false;               ///< weight decay applies (matrices; not biases, norms, temperature)
};

/// What the names of a side's tensors begin with: "queries." or "documents."; nothing where both sides share
/// one tower.
std::string tower_prefix(const EncoderConfig& config, Side side);

class ParameterTable {
 public:
  /// Slices in the order of the forward pass. Query, key and value weights (and biases) of a layer are
  /// adjacent, so that one matrix product serves all three. The last slice is the loss's
  /// `loss.log_temperature` [1]. Where towers are separate, the whole of that of the queries comes before that
  /// of the documents, and tower_prefix() before all names.
  ///
  /// Tables have rows that no token of a batch reads, and some that none ever reads: types but the first, and
  /// positions before EncoderConfig::position_offset. Their gradient is zero, so that the optimiser moves
  /// them by weight decay alone, as PyTorch's does; without decay they keep their bits.
  explicit ParameterTable(const EncoderConfig& config);

  const std::vector<TensorView>& tensors() const { return tensors_; }
  std::int64_t size() const { return size_; }
  /// The slice of that name; throws Error if there is none.
  const TensorView& at(const std::string& name) const;

 private:
  void add_tower(const EncoderConfig& config, const std::string& prefix);
  void add(const std::string& name, std::vector<std::int64_t> shape, bool decay);

  std::vector<TensorView> tensors_;
  std::int64_t size_ = 0;
};

/// BERT's initialisation: normal(0, initializer_range) for weights and embeddings, zero biases, unit norm
/// gains. Counter-based: a tensor's values depend on seed, tensor index and element alone.
template <class T>
void initialize_parameters(const EncoderConfig& config, const ParameterTable& table, std::uint64_t seed,
                           T* out);

}  // namespace toller
