// The BERT encoder (Devlin et al., NAACL 2019): token, position and type embeddings, post-norm transformer
// layers, pooling to one embedding a sequence. Forward and backward are written here once, against
// device/ops.h.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "device/arena.h"
#include "device/ops.h"
#include "model/config.h"
#include "model/parameters.h"

namespace toller {

/// Which masks a pass draws. Inactive: evaluation.
struct DropoutState {
  bool active = false;
  std::uint64_t seed = 0;
  std::uint32_t step = 0;
};

/// What the forward pass leaves for the backward pass. Memory belongs to the arena it was made with.
template <class T>
struct Activations {
  using Real = RealOf<T>;
  struct Layer {
    T* qkv;                                         ///< [n, 3h]
    Real* logsumexp;                                ///< [n, heads]
    T *attention, *attention_sum, *attention_norm;  ///< [n, h]
    Real *attention_mean, *attention_rstd;          ///< [n]
    T *inner_pre, *inner;                           ///< [n, i] before and after the GELU
    T *output_sum, *output;                         ///< [n, h]
    Real *output_mean, *output_rstd;                ///< [n]
  };
  T *embedding_sum, *embedding_norm;
  Real *embedding_mean, *embedding_rstd;
  std::vector<Layer> layers;
  Real* norm;       ///< [count] lengths before normalisation
  Real* embedding;  ///< [count, h] the result: the caller's memory
};

template <class T>
class Encoder {
 public:
  using Real = RealOf<T>;

  /// `side`: whose tower, where there are two.
  Encoder(const EncoderConfig& config, const ParameterTable& table, Ops<T>& ops, Side side = Side::kQueries);

  std::int64_t dimension() const { return config_.hidden_size; }

  /// Embeddings [count, h] of the sequences; keeps what `backward` needs in `arena`; `embeddings`
  /// must stay as it is until then.
  void forward(const T* parameters, const PackedSequences& sequences, const DropoutState& dropout,
               Arena& arena, Activations<T>& kept, Real* embeddings) const;

  /// The same embeddings, bit by bit, keeping nothing: memory of two layers.
  void encode(const T* parameters, const PackedSequences& sequences, const DropoutState& dropout,
              Arena& arena, Real* embeddings) const;

  /// Told that the gradients from element `begin` of the flat buffer on are final.
  using GradientsReady = std::function<void(std::int64_t begin)>;

  /// Adds the gradients of all parameters to `gradients` (flat, as the parameters), given d_embeddings
  /// [count, h]. `ready`, if given, is called after every layer.
  void backward(const T* parameters, const PackedSequences& sequences, const DropoutState& dropout,
                Arena& arena, const Activations<T>& kept, const Real* d_embeddings, Real* gradients,
                const GradientsReady& ready = {}) const;

  /// Takes from `arena` what forward() and encode() (`keep` or not) or backward() take; with an arena that
  /// counts, their need of memory.
  void take_forward(const PackedSequences& sequences, bool keep, Arena& arena) const;
  void take_backward(const PackedSequences& sequences, Arena& arena) const;

  /// Floating-point operations of the matrix products of one forward pass over the sequences (attention
  /// included); a forward and backward pass takes three times as many.
  /// `sequences` is in host memory.
  double forward_flops(const PackedSequences& sequences) const;

 private:
  /// Offsets of a layer's tensors in the flat buffer. Query, key and value are adjacent: qkv is [3h, h].
  struct LayerOffsets {
    std::int64_t qkv, qkv_bias, projection, projection_bias, attention_gain, attention_bias;
    std::int64_t inner, inner_bias, output, output_bias, output_gain, output_norm_bias;
  };

  /// Gradients on the way back: of a layer's output [n, h], before its residual [n, h], [n, i], [n, h],
  /// [n, 3h], and of the pooled states before normalisation [count, h].
  struct Scratch {
    T *dx, *dbranch, *dinner, *dattention, *dqkv;
    Real* dpooled;
  };

  Activations<T> take_activations(const PackedSequences& sequences, std::int64_t layers, Arena& arena) const;
  void run(const T* parameters, const PackedSequences& sequences, const DropoutState& dropout,
           Activations<T>& kept) const;
  void layer_forward(const T* parameters, const PackedSequences& sequences, const DropoutState& dropout,
                     std::int64_t layer, const T* x, typename Activations<T>::Layer& kept) const;
  void pool_forward(const PackedSequences& sequences, const T* states, Activations<T>& kept) const;
  std::int64_t kept_layers() const;
  Scratch take_scratch(const PackedSequences& sequences, Arena& arena) const;
  /// scratch.dx [n, h] from d_embeddings.
  void pool_backward(const PackedSequences& sequences, const Activations<T>& kept, const Real* d_embeddings,
                     const Scratch& scratch) const;
  /// scratch.dx [n, h]: in, gradient of the layer's output; out, of its input x.
  void layer_backward(const T* parameters, const PackedSequences& sequences, const DropoutState& dropout,
                      std::int64_t layer, const T* x, const typename Activations<T>::Layer& kept,
                      const Scratch& scratch, Real* gradients) const;
  /// The row of the type table that all tokens read, or its gradient; null if there is no such table.
  template <class V>
  V* type_row(V* flat) const {
    return config_.type_vocabulary_size > 0 ? flat + type_ : nullptr;
  }
  Dropout site(const DropoutState& state, double rate, std::uint32_t number) const;

  EncoderConfig config_;
  Ops<T>& ops_;
  std::int64_t word_, embedding_gain_, embedding_bias_;
  std::int64_t position_;  ///< of a text's first token
  std::int64_t type_ = 0;
  std::vector<LayerOffsets> offsets_;
};

}  // namespace toller
