#include "train/training_step.h"

#include <algorithm>
#include <span>
#include <type_traits>

namespace toller {

void StepMemory::cover(const StepMemory& other) {
  embeddings = std::max(embeddings, other.embeddings);
  activations = std::max(activations, other.activations);
  scratch = std::max(scratch, other.scratch);
  loss = std::max(loss, other.loss);
}

template <class T>
TrainingStep<T>::TrainingStep(const EncoderConfig& config, const ParameterTable& table, Ops<T>& ops,
                              TensorCommunicator& communicator, const TrainingStepOptions& options)
    : config_(config),
      encoders_{Encoder<T>(config, table, ops, Side::kQueries),
                Encoder<T>(config, table, ops, Side::kDocuments)},
      log_temperature_(table.at("loss.log_temperature").offset),
      ops_(ops),
      communicator_(communicator),
      options_(options),
      embeddings_(ops),
      activations_(ops),
      scratch_(ops) {
  if (options_.chunk_tokens == 0) options_.chunk_tokens = ops.chunk_tokens();
}

template <class T>
void TrainingStep<T>::pack_share(const TokenStore& store, const GlobalBatch& batch, std::int64_t micro_batch,
                                 Share& share) const {
  const BatchShare& rows = share.rows;
  const std::int64_t queries = rows.last - rows.first;
  const std::int64_t first = batch.document_offsets[rows.first], last = batch.document_offsets[rows.last];
  const std::int64_t texts = queries + last - first;
  const bool limited = micro_batch > 0 && micro_batch < queries;
  const std::int64_t most_texts = limited ? (texts * micro_batch + queries - 1) / queries : texts;

  std::vector<PackedBatch>& chunks = share.chunks;
  std::int64_t global_row = 0;
  // Walks over the texts of all ranks, because a token's global row counts those before it.
  const auto visit = [&](const TokenTable& table, Side side, std::int32_t row, bool mine) {
    const std::span<const std::int32_t> tokens = table.row(row);
    if (mine) {
      const bool full = !chunks.empty() && (chunks.back().token_count() >= options_.chunk_tokens ||
                                            chunks.back().text_count() >= most_texts ||
                                            (config_.separate_towers && share.chunk_sides.back() != side));
      if (chunks.empty() || full) {
        chunks.emplace_back();
        share.chunk_sides.push_back(side);
      }
      chunks.back().add(tokens, options_.max_length, global_row);
    }
    global_row += std::min(static_cast<std::int32_t>(tokens.size()), options_.max_length);
  };
  for (std::int64_t i = 0; i < batch.size(); ++i) {
    visit(store.queries, Side::kQueries, batch.queries[i], i >= rows.first && i < rows.last);
  }
  for (std::int64_t i = 0; i < batch.document_offsets.back(); ++i) {
    visit(store.documents, Side::kDocuments, batch.documents[i], i >= first && i < last);
  }
}

template <class T>
void TrainingStep<T>::count_by_rank(const GlobalBatch& batch, Share& share) const {
  for (int rank = 0; rank < communicator_.size(); ++rank) {
    const BatchShare rows = batch_share(batch.size(), rank, communicator_.size());
    const std::int64_t documents = batch.document_offsets[rows.last] - batch.document_offsets[rows.first];
    share.query_counts.push_back(rows.last - rows.first);
    share.gather_counts.push_back(documents * dimension());
  }
}

template <class T>
typename TrainingStep<T>::Share TrainingStep<T>::make_share(const TokenStore& store, const GlobalBatch& batch,
                                                            std::int64_t micro_batch) const {
  Share share;
  share.rows = batch_share(batch.size(), communicator_.rank(), communicator_.size());
  count_by_rank(batch, share);
  pack_share(store, batch, micro_batch, share);
  share.recomputes = micro_batch > 0 && micro_batch < share.rows.last - share.rows.first;
  share.query_values = (share.rows.last - share.rows.first) * dimension();
  share.document_values = share.gather_counts[static_cast<std::size_t>(communicator_.rank())];
  share.all_document_values = batch.document_offsets.back() * dimension();
  std::int64_t offset = 0;
  for (const PackedBatch& chunk : share.chunks) {
    share.chunk_offset.push_back(offset);
    offset += chunk.text_count() * dimension();
  }
  return share;
}

template <class T>
typename TrainingStep<T>::Embeddings TrainingStep<T>::take_embeddings(const Share& share,
                                                                      Arena& arena) const {
  Embeddings embeddings{};
  embeddings.embedding = arena.take<Real>(share.local_values());
  if constexpr (std::is_same_v<T, Real>) {
    embeddings.stored = embeddings.embedding;
  } else {
    embeddings.stored = arena.take<T>(share.local_values());
  }
  embeddings.document = arena.take<T>(share.all_document_values);
  embeddings.d_embedding = arena.take<Real>(share.local_values());
  embeddings.d_document = arena.take<Real>(share.all_document_values);
  embeddings.d_log_temperature = arena.take<double>(1);
  return embeddings;
}

template <class T>
StepWork TrainingStep<T>::work(const Share& share) const {
  StepWork work;
  const double passes = share.recomputes ? 4 : 3;
  for (const PackedBatch& chunk : share.chunks) {
    work.tokens += chunk.token_count();
    work.flops += passes * encoders_.front().forward_flops(chunk.sequences(config_.max_tokens()));
  }
  return work;
}

template <class T>
std::vector<Activations<T>> TrainingStep<T>::encode(const Share& share, const Embeddings& embeddings,
                                                    const T* parameters, const DropoutState& dropout) {
  const bool keep = !share.recomputes;
  std::vector<Activations<T>> kept(keep ? share.chunks.size() : 0);
  activations_.reset();
  for (std::size_t c = 0; c < share.chunks.size(); ++c) {
    Real* embedding = embeddings.embedding + share.chunk_offset[c];
    const Encoder<T>& tower = encoder(share.chunk_sides[c]);
    if (keep) {
      tower.forward(parameters, share.sequences[c], dropout, activations_, kept[c], embedding);
    } else {
      activations_.reset();
      tower.encode(parameters, share.sequences[c], dropout, activations_, embedding);
    }
  }
  return kept;
}

template <class T>
void TrainingStep<T>::compute_loss(const Share& share, const Embeddings& embeddings,
                                   const TrainingTask<T>& task, const GlobalBatch& batch, std::int64_t index,
                                   const StepParameters<T>& parameters, double weight,
                                   const StepGradient<T>& gradient) {
  if constexpr (!std::is_same_v<T, Real>) {
    ops_.convert(share.local_values(), embeddings.embedding, embeddings.stored);
  }
  const std::span<const std::int64_t> counts = share.gather_counts;
  communicator_.all_gather(embeddings.stored + share.query_values, counts, embeddings.document);
  relations_ = task.plan.relations(batch, share.rows);
  task.loss.compute({.queries = share.rows.last - share.rows.first,
                     .global_queries = batch.size(),
                     .candidates = batch.document_offsets.back(),
                     .dimension = dimension(),
                     .query = embeddings.stored,
                     .document = embeddings.document,
                     .positive_offsets = relations_.positive_offsets,
                     .positive = relations_.positive,
                     .excluded_offsets = relations_.excluded_offsets,
                     .excluded = relations_.excluded,
                     .own_offsets = relations_.own_offsets,
                     .own_grade = relations_.own_grade,
                     .own_teacher = relations_.own_score,
                     .step = index,
                     .first_query = share.rows.first,
                     .query_counts = share.query_counts},
                    parameters.log_temperature, communicator_,
                    {.query = embeddings.d_embedding,
                     .document = embeddings.d_document,
                     .log_temperature = embeddings.d_log_temperature,
                     .value = gradient.loss});
  // The adjoint of the gather: a document's gradients, from the queries of all ranks, go to the rank that
  // encoded it.
  communicator_.reduce_scatter_sum(embeddings.d_document, counts,
                                   embeddings.d_embedding + share.query_values);
  // A loss that is not finite makes the gradient so too, whatever its own gradient is: the step is skipped on
  // all ranks. Adds 0 otherwise.
  ops_.add_scalar(gradient.loss, 0, gradient.values + log_temperature_);
  if (weight != 1) ops_.scale(embeddings.d_embedding, share.local_values(), weight);
  if (parameters.learns_temperature) {
    ops_.add_scalar(embeddings.d_log_temperature, weight, gradient.values + log_temperature_);
  }
}

template <class T>
void TrainingStep<T>::backward(const Share& share, const Embeddings& embeddings, const T* parameters,
                               const DropoutState& dropout, std::vector<Activations<T>>& kept,
                               Real* gradients, GradientSums<T>* sums) {
  Activations<T> recomputed;
  for (std::size_t c = 0; c < share.chunks.size(); ++c) {
    const PackedSequences& sequences = share.sequences[c];
    const Encoder<T>& tower = encoder(share.chunk_sides[c]);
    if (kept.empty()) {
      activations_.reset();
      tower.forward(parameters, sequences, dropout, activations_, recomputed,
                    embeddings.embedding + share.chunk_offset[c]);
    }
    scratch_.reset();
    typename Encoder<T>::GradientsReady ready;
    if (sums != nullptr && c + 1 == share.chunks.size()) {
      ready = [sums](std::int64_t begin) { sums->final_from(begin); };
    }
    tower.backward(parameters, sequences, dropout, scratch_, kept.empty() ? recomputed : kept[c],
                   embeddings.d_embedding + share.chunk_offset[c], gradients, ready);
  }
}

template <class T>
StepWork TrainingStep<T>::run(const TrainingTask<T>& task, const GlobalBatch& batch, std::int64_t index,
                              const StepParameters<T>& parameters, double weight,
                              const StepGradient<T>& gradient, GradientSums<T>* sums) {
  const DropoutState dropout{true, options_.dropout_seed, static_cast<std::uint32_t>(index)};
  ops_.begin_step();
  share_ = make_share(task.store, batch, options_.micro_batch);
  for (const PackedBatch& chunk : share_.chunks) {
    share_.sequences.push_back(ops_.upload_sequences(chunk.sequences(config_.max_tokens())));
  }
  embeddings_.reset();
  const Embeddings embeddings = take_embeddings(share_, embeddings_);
  if (sums != nullptr) sums->begin(gradient.values);
  std::vector<Activations<T>> kept = encode(share_, embeddings, parameters.values, dropout);
  compute_loss(share_, embeddings, task, batch, index, parameters, weight, gradient);
  backward(share_, embeddings, parameters.values, dropout, kept, gradient.values, sums);
  if (sums != nullptr) sums->finish();
  return work(share_);
}

template <class T>
StepMemory TrainingStep<T>::memory_needed(const TrainingTask<T>& task, const GlobalBatch& batch,
                                          std::int64_t micro_batch) const {
  const Share share = make_share(task.store, batch, micro_batch);
  Arena embeddings, activations, scratch, loss;
  take_embeddings(share, embeddings);
  for (const PackedBatch& chunk : share.chunks) {
    const PackedSequences sequences = chunk.sequences(config_.max_tokens());
    if (share.recomputes) activations.reset();
    encoders_.front().take_forward(sequences, true, activations);
    scratch.reset();
    encoders_.front().take_backward(sequences, scratch);
  }
  const CandidateRelations relations = task.plan.relations(batch, share.rows);
  task.loss.take_memory({.queries = share.rows.last - share.rows.first,
                         .candidates = batch.document_offsets.back(),
                         .positives = static_cast<std::int64_t>(relations.positive.size()),
                         .own = static_cast<std::int64_t>(relations.own_grade.size()),
                         .dimension = dimension(),
                         .global_queries = batch.size()},
                        loss);
  const auto bytes = [](const Arena& arena) { return static_cast<std::int64_t>(arena.peak()); };
  return {bytes(embeddings), bytes(activations), bytes(scratch), bytes(loss)};
}

template <class T>
void TrainingStep<T>::reserve(const StepMemory& memory) {
  embeddings_.reserve(static_cast<std::size_t>(memory.embeddings));
  activations_.reserve(static_cast<std::size_t>(memory.activations));
  scratch_.reserve(static_cast<std::size_t>(memory.scratch));
}

template class TrainingStep<BFloat16>;
template class TrainingStep<float>;
template class TrainingStep<double>;

}  // namespace toller
