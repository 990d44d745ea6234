#include "train/training_step.h"

#include <algorithm>
#include <span>

namespace toller {

template <class T>
TrainingStep<T>::TrainingStep(const EncoderConfig& config, const ParameterTable& table, Ops<T>& ops,
                              Loss<T>& loss, Communicator& communicator, const TokenStore& store,
                              const TrainingStepOptions& options)
    : config_(config),
      encoder_(config, table, ops),
      ops_(ops),
      loss_(loss),
      communicator_(communicator),
      store_(store),
      options_(options),
      embeddings_(ops),
      activations_(ops) {}

template <class T>
std::vector<PackedBatch> TrainingStep<T>::pack_share(const GlobalBatch& batch,
                                                     const BatchShare& share) const {
  const std::int64_t queries = share.last - share.first;
  const std::int64_t texts =
      queries + batch.document_offsets[share.last] - batch.document_offsets[share.first];
  const bool chunked = options_.micro_batch > 0 && options_.micro_batch < queries;
  const std::int64_t chunk_size = chunked ? (texts * options_.micro_batch + queries - 1) / queries : texts;

  std::vector<PackedBatch> chunks;
  std::int64_t packed = 0, global_row = 0;
  // Walks over the texts of all ranks, because a token's global row counts those before it.
  const auto visit = [&](const TokenTable& table, std::int32_t row, bool mine) {
    const std::span<const std::int32_t> tokens = table.row(row);
    if (mine) {
      if (packed % chunk_size == 0) chunks.emplace_back();
      chunks.back().add(tokens, options_.max_length, global_row);
      ++packed;
    }
    global_row += std::min(static_cast<std::int32_t>(tokens.size()), options_.max_length);
  };
  for (std::int64_t i = 0; i < batch.size(); ++i) {
    visit(store_.queries, batch.queries[i], i >= share.first && i < share.last);
  }
  const std::int64_t first = batch.document_offsets[share.first], last = batch.document_offsets[share.last];
  for (std::int64_t i = 0; i < batch.document_offsets.back(); ++i) {
    visit(store_.documents, batch.documents[i], i >= first && i < last);
  }
  return chunks;
}

template <class T>
std::vector<std::int64_t> TrainingStep<T>::gather_counts(const GlobalBatch& batch) const {
  std::vector<std::int64_t> counts;
  for (int rank = 0; rank < communicator_.size(); ++rank) {
    const BatchShare share = batch_share(batch.size(), rank, communicator_.size());
    const std::int64_t documents = batch.document_offsets[share.last] - batch.document_offsets[share.first];
    counts.push_back(documents * encoder_.dimension());
  }
  return counts;
}

template <class T>
EncoderInput TrainingStep<T>::input_of(const PackedBatch& chunk) const {
  return {chunk.sequences(config_.max_positions), chunk.tokens()};
}

template <class T>
StepResult TrainingStep<T>::run(const BatchPlan& plan, const GlobalBatch& batch, std::int64_t index,
                                const T* parameters, double log_temperature, double weight, T* gradients) {
  const BatchShare share = batch_share(batch.size(), communicator_.rank(), communicator_.size());
  const DropoutState dropout{true, options_.dropout_seed, static_cast<std::uint32_t>(index)};
  const std::int64_t d = encoder_.dimension();
  const std::int64_t queries = share.last - share.first;
  const std::int64_t candidates = batch.document_offsets.back();
  const std::vector<std::int64_t> counts = gather_counts(batch);
  const std::int64_t local_values = counts[static_cast<std::size_t>(communicator_.rank())];
  const std::vector<PackedBatch> chunks = pack_share(batch, share);
  StepResult result;

  // Encode: queries, then documents, one behind the other.
  embeddings_.reset();
  activations_.reset();
  T* embedding = embeddings_.take(queries * d + local_values);
  Activations<T> kept;
  std::vector<T*> chunk_embedding;
  T* next = embedding;
  for (const PackedBatch& chunk : chunks) {
    const EncoderInput input = input_of(chunk);
    chunk_embedding.push_back(next);
    if (chunks.size() == 1) {
      encoder_.forward(parameters, input, dropout, activations_, kept, next);
    } else {
      activations_.reset();
      encoder_.encode(parameters, input, dropout, activations_, next);
    }
    next += input.sequences.count * d;
    result.tokens += input.sequences.tokens;
    result.flops += (chunks.size() == 1 ? 3 : 4) * encoder_.forward_flops(input.sequences);
  }

  // Gather: every query meets every rank's documents.
  T* document = embeddings_.take(candidates * d);
  communicator_.all_gather(
      std::span<const T>(embedding + queries * d, static_cast<std::size_t>(local_values)), counts,
      std::span<T>(document, static_cast<std::size_t>(candidates * d)));

  // Loss over tiles of scores; gradients of the documents go back to the ranks that encoded them.
  const CandidateRelations relations = plan.relations(batch, share);
  T* d_embedding = embeddings_.take(queries * d + local_values);
  T* d_document = embeddings_.take(candidates * d);
  LossGradient<T> gradient{.query = d_embedding, .document = d_document};
  result.loss = loss_.compute({.queries = queries,
                               .global_queries = batch.size(),
                               .candidates = candidates,
                               .dimension = d,
                               .query = embedding,
                               .document = document,
                               .positive_offsets = relations.positive_offsets,
                               .positive = relations.positive,
                               .excluded_offsets = relations.excluded_offsets,
                               .excluded = relations.excluded},
                              log_temperature, communicator_, gradient);
  communicator_.reduce_scatter_sum(
      std::span<const T>(d_document, static_cast<std::size_t>(candidates * d)), counts,
      std::span<T>(d_embedding + queries * d, static_cast<std::size_t>(local_values)));
  ops_.scale(d_embedding, queries * d + local_values, static_cast<T>(weight));
  result.log_temperature_gradient = weight * gradient.log_temperature;

  // Encoder backward.
  for (std::size_t c = 0; c < chunks.size(); ++c) {
    const EncoderInput input = input_of(chunks[c]);
    if (chunks.size() > 1) {
      activations_.reset();
      encoder_.forward(parameters, input, dropout, activations_, kept, chunk_embedding[c]);
    }
    encoder_.backward(parameters, input, dropout, activations_, kept,
                      d_embedding + (chunk_embedding[c] - embedding), gradients);
  }
  return result;
}

template class TrainingStep<float>;
template class TrainingStep<double>;

}  // namespace toller
