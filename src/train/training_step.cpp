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
      activations_(ops),
      scratch_(ops) {}

template <class T>
std::vector<PackedBatch> TrainingStep<T>::pack_share(const GlobalBatch& batch,
                                                     const BatchShare& share) const {
  const std::int64_t queries = share.last - share.first;
  const std::int64_t texts =
      queries + batch.document_offsets[share.last] - batch.document_offsets[share.first];
  const bool limited = options_.micro_batch > 0 && options_.micro_batch < queries;
  const std::int64_t most_texts = limited ? (texts * options_.micro_batch + queries - 1) / queries : texts;

  std::vector<PackedBatch> chunks;
  std::int64_t global_row = 0;
  // Walks over the texts of all ranks, because a token's global row counts those before it.
  const auto visit = [&](const TokenTable& table, std::int32_t row, bool mine) {
    const std::span<const std::int32_t> tokens = table.row(row);
    if (mine) {
      const bool full = !chunks.empty() && (chunks.back().token_count() >= options_.chunk_tokens ||
                                            chunks.back().text_count() >= most_texts);
      if (chunks.empty() || full) chunks.emplace_back();
      chunks.back().add(tokens, options_.max_length, global_row);
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
typename TrainingStep<T>::Share TrainingStep<T>::make_share(const GlobalBatch& batch) {
  Share share;
  share.rows = batch_share(batch.size(), communicator_.rank(), communicator_.size());
  share.gather_counts = gather_counts(batch);
  share.chunks = pack_share(batch, share.rows);
  share.query_values = (share.rows.last - share.rows.first) * encoder_.dimension();
  share.document_values = share.gather_counts[static_cast<std::size_t>(communicator_.rank())];
  share.embedding = embeddings_.take(share.query_values + share.document_values);
  std::int64_t offset = 0;
  for (const PackedBatch& chunk : share.chunks) {
    share.chunk_offset.push_back(offset);
    offset += chunk.text_count() * encoder_.dimension();
  }
  return share;
}

template <class T>
bool TrainingStep<T>::recomputes(const Share& share) const {
  return options_.micro_batch > 0 && options_.micro_batch < share.rows.last - share.rows.first;
}

template <class T>
std::vector<Activations<T>> TrainingStep<T>::encode(const Share& share, const T* parameters,
                                                    const DropoutState& dropout, StepResult& result) {
  const bool keep = !recomputes(share);
  std::vector<Activations<T>> kept(keep ? share.chunks.size() : 0);
  activations_.reset();
  for (std::size_t c = 0; c < share.chunks.size(); ++c) {
    const EncoderInput input = input_of(share.chunks[c]);
    T* embedding = share.embedding + share.chunk_offset[c];
    if (keep) {
      encoder_.forward(parameters, input, dropout, activations_, kept[c], embedding);
    } else {
      activations_.reset();
      encoder_.encode(parameters, input, dropout, activations_, embedding);
    }
    result.tokens += input.sequences.tokens;
    result.flops += (keep ? 3 : 4) * encoder_.forward_flops(input.sequences);
  }
  return kept;
}

template <class T>
T* TrainingStep<T>::compute_loss(const Share& share, const BatchPlan& plan, const GlobalBatch& batch,
                                 double log_temperature, double weight, StepResult& result) {
  const std::int64_t candidates = batch.document_offsets.back();
  const std::int64_t local_values = share.query_values + share.document_values;
  const auto documents_of = [&](T* embedding) {
    return std::span<T>(embedding + share.query_values, static_cast<std::size_t>(share.document_values));
  };
  const auto all_values = static_cast<std::size_t>(candidates * encoder_.dimension());
  T* document = embeddings_.take(candidates * encoder_.dimension());
  communicator_.all_gather(std::span<const T>(documents_of(share.embedding)), share.gather_counts,
                           std::span<T>(document, all_values));

  const CandidateRelations relations = plan.relations(batch, share.rows);
  T* d_embedding = embeddings_.take(local_values);
  T* d_document = embeddings_.take(candidates * encoder_.dimension());
  LossGradient<T> gradient{.query = d_embedding, .document = d_document};
  result.loss = loss_.compute({.queries = share.rows.last - share.rows.first,
                               .global_queries = batch.size(),
                               .candidates = candidates,
                               .dimension = encoder_.dimension(),
                               .query = share.embedding,
                               .document = document,
                               .positive_offsets = relations.positive_offsets,
                               .positive = relations.positive,
                               .excluded_offsets = relations.excluded_offsets,
                               .excluded = relations.excluded},
                              log_temperature, communicator_, gradient);
  // The adjoint of the gather: a document's gradients, from the queries of all ranks, go to the rank that
  // encoded it.
  communicator_.reduce_scatter_sum(std::span<const T>(d_document, all_values), share.gather_counts,
                                   documents_of(d_embedding));
  ops_.scale(d_embedding, local_values, static_cast<T>(weight));
  result.log_temperature_gradient = weight * gradient.log_temperature;
  return d_embedding;
}

template <class T>
void TrainingStep<T>::backward(const Share& share, const T* parameters, const DropoutState& dropout,
                               std::vector<Activations<T>>& kept, const T* d_embedding, T* gradients) {
  Activations<T> recomputed;
  for (std::size_t c = 0; c < share.chunks.size(); ++c) {
    const EncoderInput input = input_of(share.chunks[c]);
    if (kept.empty()) {
      activations_.reset();
      encoder_.forward(parameters, input, dropout, activations_, recomputed,
                       share.embedding + share.chunk_offset[c]);
    }
    scratch_.reset();
    encoder_.backward(parameters, input, dropout, scratch_, kept.empty() ? recomputed : kept[c],
                      d_embedding + share.chunk_offset[c], gradients);
  }
}

template <class T>
StepResult TrainingStep<T>::run(const BatchPlan& plan, const GlobalBatch& batch, std::int64_t index,
                                const T* parameters, double log_temperature, double weight, T* gradients) {
  const DropoutState dropout{true, options_.dropout_seed, static_cast<std::uint32_t>(index)};
  StepResult result;
  embeddings_.reset();
  const Share share = make_share(batch);
  std::vector<Activations<T>> kept = encode(share, parameters, dropout, result);
  const T* d_embedding = compute_loss(share, plan, batch, log_temperature, weight, result);
  backward(share, parameters, dropout, kept, d_embedding, gradients);
  return result;
}

template class TrainingStep<float>;
template class TrainingStep<double>;

}  // namespace toller
