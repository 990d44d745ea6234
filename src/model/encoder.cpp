#include "model/encoder.h"

#include <string>

#include "error.h"

namespace toller {

template <class T>
Encoder<T>::Encoder(const EncoderConfig& config, const ParameterTable& table, Ops<T>& ops, Side side)
    : config_(config), ops_(ops) {
  ops.check_sizes(config.hidden_size, config.heads);
  const std::string tower = tower_prefix(config, side);
  const auto offset = [&](const std::string& name) { return table.at(tower + name).offset; };
  word_ = offset("embeddings.word_embeddings.weight");
  position_ = offset("embeddings.position_embeddings.weight") +
              std::int64_t{config.position_offset} * config.hidden_size;
  if (config.type_vocabulary_size > 0) type_ = offset("embeddings.token_type_embeddings.weight");
  embedding_gain_ = offset("embeddings.LayerNorm.weight");
  embedding_bias_ = offset("embeddings.LayerNorm.bias");
  for (std::int32_t layer = 0; layer < config.layers; ++layer) {
    const std::string prefix = fmt::format("encoder.layer.{}.", layer);
    offsets_.push_back({.qkv = offset(prefix + "attention.self.query.weight"),
                        .qkv_bias = offset(prefix + "attention.self.query.bias"),
                        .projection = offset(prefix + "attention.output.dense.weight"),
                        .projection_bias = offset(prefix + "attention.output.dense.bias"),
                        .attention_gain = offset(prefix + "attention.output.LayerNorm.weight"),
                        .attention_bias = offset(prefix + "attention.output.LayerNorm.bias"),
                        .inner = offset(prefix + "intermediate.dense.weight"),
                        .inner_bias = offset(prefix + "intermediate.dense.bias"),
                        .output = offset(prefix + "output.dense.weight"),
                        .output_bias = offset(prefix + "output.dense.bias"),
                        .output_gain = offset(prefix + "output.LayerNorm.weight"),
                        .output_norm_bias = offset(prefix + "output.LayerNorm.bias")});
  }
}

/// Layers whose buffers a pass that keeps nothing needs: a layer reads the output of the one before it.
template <class T>
std::int64_t Encoder<T>::kept_layers() const {
  return std::min<std::int64_t>(2, config_.layers);
}

template <class T>
Dropout Encoder<T>::site(const DropoutState& state, double rate, std::uint32_t number) const {
  return {state.active ? rate : 0.0, state.seed, state.step, number};
}

template <class T>
Activations<T> Encoder<T>::take_activations(const PackedSequences& sequences, std::int64_t layers,
                                            Arena& arena) const {
  const std::int64_t n = sequences.tokens, h = config_.hidden_size, inner = config_.intermediate_size;
  const auto states = [&](std::int64_t width) { return arena.take<T>(n * width); };
  const auto statistics = [&](std::int64_t width) { return arena.take<Real>(n * width); };
  Activations<T> kept;
  kept.embedding_sum = states(h);
  kept.embedding_mean = statistics(1);
  kept.embedding_rstd = statistics(1);
  kept.embedding_norm = states(h);
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    kept.layers.push_back({.qkv = states(3 * h),
                           .logsumexp = statistics(config_.heads),
                           .attention = states(h),
                           .attention_sum = states(h),
                           .attention_norm = states(h),
                           .attention_mean = statistics(1),
                           .attention_rstd = statistics(1),
                           .inner_pre = states(inner),
                           .inner = states(inner),
                           .output_sum = states(h),
                           .output = states(h),
                           .output_mean = statistics(1),
                           .output_rstd = statistics(1)});
  }
  kept.norm = arena.take<Real>(sequences.count);
  return kept;
}

template <class T>
typename Encoder<T>::Scratch Encoder<T>::take_scratch(const PackedSequences& sequences, Arena& arena) const {
  const std::int64_t n = sequences.tokens, h = config_.hidden_size;
  return {.dx = arena.take<T>(n * h),
          .dbranch = arena.take<T>(n * h),
          .dinner = arena.take<T>(n * config_.intermediate_size),
          .dattention = arena.take<T>(n * h),
          .dqkv = arena.take<T>(n * 3 * h),
          .dpooled = arena.take<Real>(sequences.count * h)};
}

template <class T>
void Encoder<T>::take_forward(const PackedSequences& sequences, bool keep, Arena& arena) const {
  take_activations(sequences, keep ? config_.layers : kept_layers(), arena);
}

template <class T>
void Encoder<T>::take_backward(const PackedSequences& sequences, Arena& arena) const {
  take_scratch(sequences, arena);
}

template <class T>
void Encoder<T>::forward(const T* parameters, const PackedSequences& sequences, const DropoutState& dropout,
                         Arena& arena, Activations<T>& kept, Real* embeddings) const {
  kept = take_activations(sequences, config_.layers, arena);
  kept.embedding = embeddings;
  run(parameters, sequences, dropout, kept);
}

template <class T>
void Encoder<T>::encode(const T* parameters, const PackedSequences& sequences, const DropoutState& dropout,
                        Arena& arena, Real* embeddings) const {
  Activations<T> kept = take_activations(sequences, kept_layers(), arena);
  kept.embedding = embeddings;
  run(parameters, sequences, dropout, kept);
}

template <class T>
void Encoder<T>::run(const T* parameters, const PackedSequences& sequences, const DropoutState& dropout,
                     Activations<T>& kept) const {
  const std::int64_t h = config_.hidden_size;
  if (sequences.count == 0) return;
  ops_.embed(sequences, h, parameters + word_, parameters + position_, type_row(parameters),
             parameters + embedding_gain_, parameters + embedding_bias_, config_.layer_norm_eps,
             site(dropout, config_.hidden_dropout, 0), kept.embedding_sum, kept.embedding_mean,
             kept.embedding_rstd, kept.embedding_norm);
  const T* x = kept.embedding_norm;
  for (std::int64_t layer = 0; layer < config_.layers; ++layer) {
    auto& buffers = kept.layers[layer % kept.layers.size()];
    layer_forward(parameters, sequences, dropout, layer, x, buffers);
    x = buffers.output;
  }
  pool_forward(sequences, x, kept);
}

template <class T>
void Encoder<T>::layer_forward(const T* parameters, const PackedSequences& sequences,
                               const DropoutState& dropout, std::int64_t layer, const T* x,
                               typename Activations<T>::Layer& kept) const {
  const std::int64_t n = sequences.tokens, h = config_.hidden_size, inner = config_.intermediate_size;
  const double epsilon = config_.layer_norm_eps;
  const LayerOffsets& at = offsets_[layer];
  const T* p = parameters;
  const auto first_site = static_cast<std::uint32_t>(3 * layer + 1);

  ops_.linear(n, h, 3 * h, x, p + at.qkv, p + at.qkv_bias, kept.qkv);
  ops_.attention(sequences, h, config_.heads, kept.qkv, site(dropout, config_.attention_dropout, first_site),
                 kept.logsumexp, kept.attention);
  ops_.linear(n, h, h, kept.attention, p + at.projection, nullptr, kept.attention_sum);
  ops_.residual_norm(sequences, h, kept.attention_sum, p + at.projection_bias, x, p + at.attention_gain,
                     p + at.attention_bias, epsilon, site(dropout, config_.hidden_dropout, first_site + 1),
                     kept.attention_mean, kept.attention_rstd, kept.attention_norm);
  ops_.linear_gelu(n, h, inner, kept.attention_norm, p + at.inner, p + at.inner_bias, kept.inner_pre,
                   kept.inner);
  ops_.linear(n, inner, h, kept.inner, p + at.output, nullptr, kept.output_sum);
  ops_.residual_norm(sequences, h, kept.output_sum, p + at.output_bias, kept.attention_norm,
                     p + at.output_gain, p + at.output_norm_bias, epsilon,
                     site(dropout, config_.hidden_dropout, first_site + 2), kept.output_mean,
                     kept.output_rstd, kept.output);
}

template <class T>
void Encoder<T>::pool_forward(const PackedSequences& sequences, const T* states, Activations<T>& kept) const {
  const std::int64_t h = config_.hidden_size, count = sequences.count;
  if (config_.pooling == Pooling::kMean) {
    ops_.pool_mean(sequences, h, states, kept.embedding);
  } else {
    ops_.pool_token(sequences, h, config_.pooling == Pooling::kLast, states, kept.embedding);
  }
  if (config_.normalize) ops_.normalize_rows(count, h, kept.embedding, kept.norm, kept.embedding);
}

template <class T>
void Encoder<T>::pool_backward(const PackedSequences& sequences, const Activations<T>& kept,
                               const Real* d_embeddings, const Scratch& scratch) const {
  const std::int64_t h = config_.hidden_size, count = sequences.count;
  const Real* d_pooled = d_embeddings;
  if (config_.normalize) {
    ops_.normalize_rows_backward(count, h, d_embeddings, kept.embedding, kept.norm, scratch.dpooled);
    d_pooled = scratch.dpooled;
  }
  if (config_.pooling == Pooling::kMean) {
    ops_.pool_mean_backward(sequences, h, d_pooled, scratch.dx);
  } else {
    ops_.pool_token_backward(sequences, h, config_.pooling == Pooling::kLast, d_pooled, scratch.dx);
  }
}

template <class T>
void Encoder<T>::backward(const T* parameters, const PackedSequences& sequences, const DropoutState& dropout,
                          Arena& arena, const Activations<T>& kept, const Real* d_embeddings, Real* gradients,
                          const GradientsReady& ready) const {
  const std::int64_t h = config_.hidden_size;
  if (sequences.count > 0) {
    Scratch scratch = take_scratch(sequences, arena);
    // A sublayer's gradient before its residual is the residual's own where no dropout stands between.
    if (!dropout.active || config_.hidden_dropout == 0) scratch.dbranch = scratch.dx;
    pool_backward(sequences, kept, d_embeddings, scratch);
    for (std::int64_t layer = config_.layers - 1; layer >= 0; --layer) {
      const T* x = layer == 0 ? kept.embedding_norm : kept.layers[layer - 1].output;
      layer_backward(parameters, sequences, dropout, layer, x, kept.layers[layer], scratch, gradients);
      if (ready) ready(offsets_[layer].qkv);  // where the layer begins
    }
    ops_.embed_backward(sequences, h, scratch.dx, kept.embedding_sum, kept.embedding_mean,
                        kept.embedding_rstd, parameters + embedding_gain_,
                        site(dropout, config_.hidden_dropout, 0), gradients + word_, gradients + position_,
                        type_row(gradients), gradients + embedding_gain_, gradients + embedding_bias_);
  }
  if (ready) ready(0);
}

template <class T>
void Encoder<T>::layer_backward(const T* parameters, const PackedSequences& sequences,
                                const DropoutState& dropout, std::int64_t layer, const T* x,
                                const typename Activations<T>::Layer& kept, const Scratch& scratch,
                                Real* gradients) const {
  const std::int64_t n = sequences.tokens, h = config_.hidden_size, inner = config_.intermediate_size;
  const LayerOffsets& at = offsets_[layer];
  const T* p = parameters;
  Real* g = gradients;
  const auto first_site = static_cast<std::uint32_t>(3 * layer + 1);
  const auto [dx, dbranch, dinner, dattention, dqkv, dpooled] = scratch;

  ops_.residual_norm_backward(sequences, h, dx, kept.output_sum, kept.output_mean, kept.output_rstd,
                              p + at.output_gain, site(dropout, config_.hidden_dropout, first_site + 2), dx,
                              dbranch, g + at.output_gain, g + at.output_norm_bias);
  ops_.linear_backward_parameters(n, inner, h, dbranch, kept.inner, g + at.output, g + at.output_bias);
  ops_.linear_gelu_backward_input(n, inner, h, dbranch, p + at.output, kept.inner_pre, dinner);
  ops_.linear_backward_parameters(n, h, inner, dinner, kept.attention_norm, g + at.inner, g + at.inner_bias);
  ops_.linear_backward_input(n, h, inner, dinner, p + at.inner, dx, true);

  ops_.residual_norm_backward(sequences, h, dx, kept.attention_sum, kept.attention_mean, kept.attention_rstd,
                              p + at.attention_gain, site(dropout, config_.hidden_dropout, first_site + 1),
                              dx, dbranch, g + at.attention_gain, g + at.attention_bias);
  ops_.linear_backward_parameters(n, h, h, dbranch, kept.attention, g + at.projection,
                                  g + at.projection_bias);
  ops_.linear_backward_input(n, h, h, dbranch, p + at.projection, dattention, false);
  ops_.attention_backward(sequences, h, config_.heads, kept.qkv, kept.attention, kept.logsumexp, dattention,
                          site(dropout, config_.attention_dropout, first_site), dqkv);
  ops_.linear_backward_parameters(n, h, 3 * h, dqkv, x, g + at.qkv, g + at.qkv_bias);
  // A key bias adds the same to all scores of a query, and softmax does not see it: its gradient is zero.
  // What the sum over tokens leaves is rounding, which Adam would blow up to whole steps.
  ops_.zero(g + at.qkv_bias + h, h);
  ops_.linear_backward_input(n, h, 3 * h, dqkv, p + at.qkv, dx, true);
}

template <class T>
double Encoder<T>::forward_flops(const PackedSequences& sequences) const {
  const double h = config_.hidden_size, inner = config_.intermediate_size;
  double attended = 0;  // Σ length²
  for (std::int64_t s = 0; s < sequences.count; ++s) {
    const double length = sequences.offsets[s + 1] - sequences.offsets[s];
    attended += length * length;
  }
  const double linear = 2.0 * static_cast<double>(sequences.tokens) * (4 * h * h + 2 * h * inner);
  return config_.layers * (linear + 4.0 * attended * h);
}

template class Encoder<BFloat16>;
template class Encoder<float>;
template class Encoder<double>;

}  // namespace toller
