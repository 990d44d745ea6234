#include "model/encoder.h"

#include <string>

#include "error.h"

namespace toller {

template <class T>
Encoder<T>::Encoder(const EncoderConfig& config, const ParameterTable& table, Ops<T>& ops)
    : config_(config), ops_(ops) {
  const auto offset = [&](const std::string& name) { return table.at(name).offset; };
  word_ = offset("embeddings.word_embeddings.weight");
  position_ = offset("embeddings.position_embeddings.weight");
  type_ = offset("embeddings.token_type_embeddings.weight");
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

template <class T>
Dropout Encoder<T>::site(const DropoutState& state, double rate, std::uint32_t number) const {
  return {state.active ? rate : 0.0, state.seed, state.step, number};
}

template <class T>
Activations<T> Encoder<T>::take_activations(const PackedSequences& sequences, std::int64_t layers,
                                            Arena<T>& arena) const {
  const std::int64_t n = sequences.tokens, h = config_.hidden_size, inner = config_.intermediate_size;
  Activations<T> kept;
  kept.embedding_sum = arena.take(n * h);
  kept.embedding_mean = arena.take(n);
  kept.embedding_rstd = arena.take(n);
  kept.embedding_norm = arena.take(n * h);
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    kept.layers.push_back({.qkv = arena.take(n * 3 * h),
                           .logsumexp = arena.take(n * config_.heads),
                           .attention = arena.take(n * h),
                           .attention_sum = arena.take(n * h),
                           .attention_mean = arena.take(n),
                           .attention_rstd = arena.take(n),
                           .attention_norm = arena.take(n * h),
                           .inner_pre = arena.take(n * inner),
                           .inner = arena.take(n * inner),
                           .output_sum = arena.take(n * h),
                           .output_mean = arena.take(n),
                           .output_rstd = arena.take(n),
                           .output = arena.take(n * h)});
  }
  kept.norm = arena.take(sequences.count);
  return kept;
}

template <class T>
void Encoder<T>::forward(const T* parameters, const EncoderInput& input, const DropoutState& dropout,
                         Arena<T>& arena, Activations<T>& kept, T* embeddings) const {
  kept = take_activations(input.sequences, config_.layers, arena);
  kept.embedding = embeddings;
  run(parameters, input, dropout, kept);
}

template <class T>
void Encoder<T>::encode(const T* parameters, const EncoderInput& input, const DropoutState& dropout,
                        Arena<T>& arena, T* embeddings) const {
  // A layer reads the output of the one before it: two sets of buffers in turn are enough.
  Activations<T> kept = take_activations(input.sequences, std::min<std::int64_t>(2, config_.layers), arena);
  kept.embedding = embeddings;
  run(parameters, input, dropout, kept);
}

template <class T>
void Encoder<T>::run(const T* parameters, const EncoderInput& input, const DropoutState& dropout,
                     Activations<T>& kept) const {
  const std::int64_t h = config_.hidden_size;
  if (input.sequences.count == 0) return;
  ops_.embed(input.sequences, h, input.tokens, parameters + word_, parameters + position_, parameters + type_,
             parameters + embedding_gain_, parameters + embedding_bias_,
             static_cast<T>(config_.layer_norm_eps), site(dropout, config_.hidden_dropout, 0),
             kept.embedding_sum, kept.embedding_mean, kept.embedding_rstd, kept.embedding_norm);
  const T* x = kept.embedding_norm;
  for (std::int64_t layer = 0; layer < config_.layers; ++layer) {
    auto& buffers = kept.layers[layer % kept.layers.size()];
    layer_forward(parameters, input, dropout, layer, x, buffers);
    x = buffers.output;
  }
  pool_forward(input, x, kept);
}

template <class T>
void Encoder<T>::layer_forward(const T* parameters, const EncoderInput& input, const DropoutState& dropout,
                               std::int64_t layer, const T* x, typename Activations<T>::Layer& kept) const {
  const std::int64_t n = input.sequences.tokens, h = config_.hidden_size, inner = config_.intermediate_size;
  const T epsilon = static_cast<T>(config_.layer_norm_eps);
  const LayerOffsets& at = offsets_[layer];
  const T* p = parameters;
  const auto first_site = static_cast<std::uint32_t>(3 * layer + 1);

  ops_.linear(n, h, 3 * h, x, p + at.qkv, p + at.qkv_bias, kept.qkv);
  ops_.attention(input.sequences, h, config_.heads, kept.qkv,
                 site(dropout, config_.attention_dropout, first_site), kept.logsumexp, kept.attention);
  ops_.linear(n, h, h, kept.attention, p + at.projection, nullptr, kept.attention_sum);
  ops_.residual_norm(input.sequences, h, kept.attention_sum, p + at.projection_bias, x, p + at.attention_gain,
                     p + at.attention_bias, epsilon, site(dropout, config_.hidden_dropout, first_site + 1),
                     kept.attention_mean, kept.attention_rstd, kept.attention_norm);
  ops_.linear_gelu(n, h, inner, kept.attention_norm, p + at.inner, p + at.inner_bias, kept.inner_pre,
                   kept.inner);
  ops_.linear(n, inner, h, kept.inner, p + at.output, nullptr, kept.output_sum);
  ops_.residual_norm(input.sequences, h, kept.output_sum, p + at.output_bias, kept.attention_norm,
                     p + at.output_gain, p + at.output_norm_bias, epsilon,
                     site(dropout, config_.hidden_dropout, first_site + 2), kept.output_mean,
                     kept.output_rstd, kept.output);
}

template <class T>
void Encoder<T>::pool_forward(const EncoderInput& input, const T* states, Activations<T>& kept) const {
  const std::int64_t h = config_.hidden_size, count = input.sequences.count;
  if (config_.pooling == Pooling::kMean) {
    ops_.pool_mean(input.sequences, h, states, kept.embedding);
  } else {
    ops_.pool_token(input.sequences, h, config_.pooling == Pooling::kLast, states, kept.embedding);
  }
  if (config_.normalize) ops_.normalize_rows(count, h, kept.embedding, kept.norm, kept.embedding);
}

template <class T>
void Encoder<T>::pool_backward(const EncoderInput& input, const Activations<T>& kept, const T* d_embeddings,
                               Arena<T>& arena, T* dstates) const {
  const std::int64_t h = config_.hidden_size, count = input.sequences.count;
  const T* d_pooled = d_embeddings;
  if (config_.normalize) {
    T* unnormalized = arena.take(count * h);
    ops_.normalize_rows_backward(count, h, d_embeddings, kept.embedding, kept.norm, unnormalized);
    d_pooled = unnormalized;
  }
  if (config_.pooling == Pooling::kMean) {
    ops_.pool_mean_backward(input.sequences, h, d_pooled, dstates);
  } else {
    ops_.pool_token_backward(input.sequences, h, config_.pooling == Pooling::kLast, d_pooled, dstates);
  }
}

template <class T>
void Encoder<T>::backward(const T* parameters, const EncoderInput& input, const DropoutState& dropout,
                          Arena<T>& arena, const Activations<T>& kept, const T* d_embeddings,
                          T* gradients) const {
  const std::int64_t n = input.sequences.tokens, h = config_.hidden_size;
  if (input.sequences.count == 0) return;
  T* dx = arena.take(n * h);
  pool_backward(input, kept, d_embeddings, arena, dx);
  // A sublayer's gradient before its residual is the residual's own where no dropout stands between.
  const bool drops = dropout.active && config_.hidden_dropout > 0;
  const Scratch scratch{.dbranch = drops ? arena.take(n * h) : dx,
                        .dinner = arena.take(n * config_.intermediate_size),
                        .dattention = arena.take(n * h),
                        .dqkv = arena.take(n * 3 * h)};
  for (std::int64_t layer = config_.layers - 1; layer >= 0; --layer) {
    const T* x = layer == 0 ? kept.embedding_norm : kept.layers[layer - 1].output;
    layer_backward(parameters, input, dropout, layer, x, kept.layers[layer], scratch, dx, gradients);
  }
  ops_.embed_backward(input.sequences, h, input.tokens, dx, kept.embedding_sum, kept.embedding_mean,
                      kept.embedding_rstd, parameters + embedding_gain_,
                      site(dropout, config_.hidden_dropout, 0), gradients + word_, gradients + position_,
                      gradients + type_, gradients + embedding_gain_, gradients + embedding_bias_);
}

template <class T>
void Encoder<T>::layer_backward(const T* parameters, const EncoderInput& input, const DropoutState& dropout,
                                std::int64_t layer, const T* x, const typename Activations<T>::Layer& kept,
                                const Scratch& scratch, T* dx, T* gradients) const {
  const std::int64_t n = input.sequences.tokens, h = config_.hidden_size, inner = config_.intermediate_size;
  const LayerOffsets& at = offsets_[layer];
  const T* p = parameters;
  T* g = gradients;
  const auto first_site = static_cast<std::uint32_t>(3 * layer + 1);
  const auto [dbranch, dinner, dattention, dqkv] = scratch;

  ops_.residual_norm_backward(input.sequences, h, dx, kept.output_sum, kept.output_mean, kept.output_rstd,
                              p + at.output_gain, site(dropout, config_.hidden_dropout, first_site + 2), dx,
                              dbranch, g + at.output_gain, g + at.output_norm_bias);
  ops_.linear_backward_parameters(n, inner, h, dbranch, kept.inner, g + at.output, g + at.output_bias);
  ops_.linear_gelu_backward_input(n, inner, h, dbranch, p + at.output, kept.inner_pre, dinner);
  ops_.linear_backward_parameters(n, h, inner, dinner, kept.attention_norm, g + at.inner, g + at.inner_bias);
  ops_.linear_backward_input(n, h, inner, dinner, p + at.inner, dx, true);

  ops_.residual_norm_backward(input.sequences, h, dx, kept.attention_sum, kept.attention_mean,
                              kept.attention_rstd, p + at.attention_gain,
                              site(dropout, config_.hidden_dropout, first_site + 1), dx, dbranch,
                              g + at.attention_gain, g + at.attention_bias);
  ops_.linear_backward_parameters(n, h, h, dbranch, kept.attention, g + at.projection,
                                  g + at.projection_bias);
  ops_.linear_backward_input(n, h, h, dbranch, p + at.projection, dattention, false);
  ops_.attention_backward(input.sequences, h, config_.heads, kept.qkv, kept.attention, kept.logsumexp,
                          dattention, site(dropout, config_.attention_dropout, first_site), dqkv);
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

template class Encoder<float>;
template class Encoder<double>;

}  // namespace toller
