// The BERT encoder (Devlin et al., NAACL 2019): token, position and type embeddings, post-norm transformer
// layers, pooling to one embedding a sequence. Forward and backward are written here once, against
// device/ops.h.
#pragma once

#include <cstdint>
#include <vector>

#include "device/arena.h"
#include "device/ops.h"
#include "model/config.h"
#include "model/parameters.h"

namespace toller {

struct EncoderInput {
  PackedSequences sequences;
  const std::int32_t* tokens = nullptr;  ///< [sequences.tokens]
};

/// Which masks a pass draws. Inactive: evaluation.
struct DropoutState {
  bool active = false;
  std::uint64_t seed = 0;
  std::uint32_t step = 0;
};

/// What the forward pass leaves for the backward pass. Memory belongs to the arena it was made with.
template <class T>
struct Activations {
  struct Layer {
    T *qkv, *logsumexp, *attention;                                       ///< [n, 3h], [n, heads], [n, h]
    T *attention_sum, *attention_mean, *attention_rstd, *attention_norm;  ///< [n, h], [n], [n], [n, h]
    T *inner_pre, *inner;                                ///< [n, i] before and after the GELU
    T *output_sum, *output_mean, *output_rstd, *output;  ///< [n, h], [n], [n], [n, h]
  };
  T *embedding_sum, *embedding_mean, *embedding_rstd, *embedding_norm;
  std::vector<Layer> layers;
  T* norm;       ///< [count] lengths before normalisation
  T* embedding;  ///< [count, h] the result: the caller's memory
};

template <class T>
class Encoder {
 public:
  Encoder(const EncoderConfig& config, const ParameterTable& table, Ops<T>& ops);

  std::int64_t dimension() const { return config_.hidden_size; }

  /// Embeddings [count, h] of the sequences; keeps what `backward` needs in `arena`; `embeddings`
  /// must stay as it is until then.
  void forward(const T* parameters, const EncoderInput& input, const DropoutState& dropout, Arena<T>& arena,
               Activations<T>& kept, T* embeddings) const;

  /// The same embeddings, bit by bit, keeping nothing: memory of two layers.
  void encode(const T* parameters, const EncoderInput& input, const DropoutState& dropout, Arena<T>& arena,
              T* embeddings) const;

  /// Adds the gradients of all parameters to `gradients` (flat, as the parameters), given d_embeddings
  /// [count, h].
  void backward(const T* parameters, const EncoderInput& input, const DropoutState& dropout, Arena<T>& arena,
                const Activations<T>& kept, const T* d_embeddings, T* gradients) const;

  /// Floating-point operations of the matrix products of one forward pass over the sequences (attention
  /// included); a forward and backward pass takes three times as many.
  double forward_flops(const PackedSequences& sequences) const;

 private:
  /// Offsets of a layer's tensors in the flat buffer. Query, key and value are adjacent: qkv is [3h, h].
  struct LayerOffsets {
    std::int64_t qkv, qkv_bias, projection, projection_bias, attention_gain, attention_bias;
    std::int64_t inner, inner_bias, output, output_bias, output_gain, output_norm_bias;
  };

  /// Gradients on the way back through a layer: [n, h], [n, i], [n, h], [n, 3h].
  struct Scratch {
    T *dbranch, *dinner, *dattention, *dqkv;
  };

  Activations<T> take_activations(const PackedSequences& sequences, std::int64_t layers,
                                  Arena<T>& arena) const;
  void run(const T* parameters, const EncoderInput& input, const DropoutState& dropout,
           Activations<T>& kept) const;
  void layer_forward(const T* parameters, const EncoderInput& input, const DropoutState& dropout,
                     std::int64_t layer, const T* x, typename Activations<T>::Layer& kept) const;
  void pool_forward(const EncoderInput& input, const T* states, Activations<T>& kept) const;
  /// dstates [n, h] from d_embeddings.
  void pool_backward(const EncoderInput& input, const Activations<T>& kept, const T* d_embeddings,
                     Arena<T>& arena, T* dstates) const;
  /// dx [n, h]: in, gradient of the layer's output; out, of its input x.
  void layer_backward(const T* parameters, const EncoderInput& input, const DropoutState& dropout,
                      std::int64_t layer, const T* x, const typename Activations<T>::Layer& kept,
                      const Scratch& scratch, T* dx, T* gradients) const;
  Dropout site(const DropoutState& state, double rate, std::uint32_t number) const;

  EncoderConfig config_;
  Ops<T>& ops_;
  std::int64_t word_, position_, type_, embedding_gain_, embedding_bias_;
  std::vector<LayerOffsets> offsets_;
};

}  // namespace toller
