// The scores of a batch, tile by tile, and what losses do with them alike: scores as products of the
// embeddings, and gradients of the embeddings from the gradient of a tile (ScoreWalk); lists of pairs checked
// and uploaded, scores with the positives' put aside and no value at pairs that are no negatives
// (ScoreTiles).
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "error.h"
#include "loss/loss.h"

namespace toller {

/// Error unless `columns` are lists of candidates, one a query of this rank. `loss` and `list` are for the
/// message.
template <class T>
void check_column_lists(const std::string& loss, const char* list, std::span<const std::int64_t> offsets,
                        std::span<const std::int32_t> columns, const LossBatch<T>& batch) {
  if (offsets.size() != static_cast<std::size_t>(batch.queries + 1) || offsets.front() != 0 ||
      offsets.back() != static_cast<std::int64_t>(columns.size()) || !std::ranges::is_sorted(offsets)) {
    fail("{}: the {} offsets do not divide {} columns among {} queries", loss, list, columns.size(),
         batch.queries);
  }
  for (const std::int32_t column : columns) {
    if (column < 0 || column >= batch.candidates) {
      fail("{}: {} column {} is not one of {} candidates", loss, list, column, batch.candidates);
    }
  }
}

template <class T>
class ScoreWalk {
 public:
  using Real = RealOf<T>;

  /// Memory of one tile on the device.
  struct TileMemory {
    Real* scores = nullptr;
    T* gradient = nullptr;  ///< ∂L/∂s; the scores' own memory where T is Real
  };

  /// Tile sizes of 0: what suits the device. UsageError for negative ones.
  ScoreWalk(Ops<T>& ops, const ScoreOps<T>& score_ops, std::int64_t tile_rows, std::int64_t tile_columns)
      : ops_(ops),
        tile_rows_(tile_size("tile_rows", tile_rows, score_ops.tile_rows())),
        tile_columns_(tile_size("tile_columns", tile_columns, score_ops.tile_columns())) {}

  TileMemory take_tile(const LossSize& size, Arena& arena) const {
    const std::int64_t tile = std::min(size.queries, tile_rows_) * std::min(size.candidates, tile_columns_);
    TileMemory memory;
    memory.scores = arena.take<Real>(tile);
    if constexpr (std::is_same_v<T, Real>) {
      memory.gradient = memory.scores;
    } else {
      memory.gradient = arena.take<T>(tile);
    }
    return memory;
  }

  /// `batch` must outlive the walk.
  void begin(const LossBatch<T>& batch) { batch_ = &batch; }

  /// All scores are in one tile: it need not be made again.
  bool one_tile() const { return batch_->queries <= tile_rows_ && batch_->candidates <= tile_columns_; }

  template <class Body>
  void for_each(Body body) const {
    for (std::int64_t row = 0; row < batch_->queries; row += tile_rows_) {
      for (std::int64_t column = 0; column < batch_->candidates; column += tile_columns_) {
        body(ScoreTile{row, std::min(tile_rows_, batch_->queries - row), column,
                       std::min(tile_columns_, batch_->candidates - column)});
      }
    }
  }

  /// scores = ⟨q, d⟩ of the tile.
  void multiply(const ScoreTile& tile, Real* scores) const {
    const std::int64_t d = batch_->dimension;
    ops_.gemm(false, true, tile.rows, tile.columns, d, batch_->query + tile.row * d, d,
              batch_->document + tile.column * d, d, 0, scores, tile.columns);
  }

  /// The tile's part of the embeddings' gradients. Tiles come in the order of for_each().
  void add_embedding_gradients(const ScoreTile& tile, const T* score_gradient,
                               const LossGradient<T>& gradient) const {
    add_query_gradients(tile, score_gradient, tile.column == 0 ? 0 : 1, gradient.query);
    add_document_gradients(tile, score_gradient, tile.row == 0 ? 0 : 1, gradient.document);
  }
  /// d_query [b, d] = beta · d_query + the tile's part, in the tile's rows alone.
  void add_query_gradients(const ScoreTile& tile, const T* score_gradient, double beta, Real* d_query) const {
    const std::int64_t d = batch_->dimension;
    ops_.gemm(false, false, tile.rows, d, tile.columns, score_gradient, tile.columns,
              batch_->document + tile.column * d, d, beta, d_query + tile.row * d, d);
  }
  /// d_document [M, d] likewise, in the tile's columns alone.
  void add_document_gradients(const ScoreTile& tile, const T* score_gradient, double beta,
                              Real* d_document) const {
    const std::int64_t d = batch_->dimension;
    ops_.gemm(true, false, tile.columns, d, tile.rows, score_gradient, tile.columns,
              batch_->query + tile.row * d, d, beta, d_document + tile.column * d, d);
  }

 private:
  static std::int64_t tile_size(const char* name, std::int64_t size, std::int64_t suits) {
    if (size < 0) fail_usage("{} is {}; it must not be negative", name, size);
    return size == 0 ? suits : size;
  }

  Ops<T>& ops_;
  std::int64_t tile_rows_, tile_columns_;
  const LossBatch<T>* batch_ = nullptr;
};

template <class T>
class ScoreTiles {
 public:
  using Real = RealOf<T>;

  /// Memory of one batch on the device.
  struct Memory : ScoreWalk<T>::TileMemory {
    Real* positive_score = nullptr;         ///< by place in batch.positive
    double* positive_gradient = nullptr;    ///< ∂L/∂s · τ of the positives, likewise
    double* inverse_temperature = nullptr;  ///< [1]
  };

  /// `name` is the loss's, for messages. Tile sizes of 0: what suits the device.
  ScoreTiles(std::string name, Ops<T>& ops, ScoreOps<T>& score_ops, std::int64_t tile_rows,
             std::int64_t tile_columns)
      : name_(std::move(name)),
        ops_(ops),
        score_ops_(score_ops),
        walk_(ops, score_ops, tile_rows, tile_columns) {}

  Memory take_memory(const LossSize& size, Arena& arena) const {
    Memory memory{walk_.take_tile(size, arena)};
    memory.positive_score = arena.take<Real>(size.positives);
    memory.positive_gradient = arena.take<double>(size.positives);
    memory.inverse_temperature = arena.take<double>(1);
    return memory;
  }

  /// Checks the batch's lists (Error) and uploads them. `batch` and `memory` must outlive the use of the
  /// tiles.
  void begin(const LossBatch<T>& batch, const Memory& memory) {
    check(batch);
    batch_ = &batch;
    memory_ = memory;
    walk_.begin(batch);
    positive_list_ = as_pairs(batch.positive_offsets, batch.positive);
    excluded_list_ = as_pairs(batch.excluded_offsets, batch.excluded);
    positive_ = ops_.template upload<ScorePair>(positive_list_);
    excluded_ = ops_.template upload<ScorePair>(excluded_list_);
  }

  bool one_tile() const { return walk_.one_tile(); }
  const ScorePair* positive() const { return positive_; }  ///< [positives] on the device

  template <class Body>
  void for_each(Body body) const {
    walk_.for_each(body);
  }

  /// The positives of the tile's rows, as places in batch.positive.
  struct Range {
    std::int64_t first = 0, count = 0;
  };
  Range positives_of(const ScoreTile& tile) const { return range(batch_->positive_offsets, tile); }
  bool has_positives(const ScoreTile& tile) const {
    const Range range = positives_of(tile);
    return std::ranges::any_of(batch_->positive.subspan(range.first, range.count), [&](std::int32_t column) {
      return column >= tile.column && column < tile.column + tile.columns;
    });
  }

  /// Scores of a tile: the positives' put aside, −∞ at every pair that is no negative.
  void make_scores(const ScoreTile& tile) {
    walk_.multiply(tile, memory_.scores);
    const Range positives = positives_of(tile), excluded = range(batch_->excluded_offsets, tile);
    score_ops_.read_pairs(tile, positives.count, positive_ + positives.first, memory_.scores,
                          memory_.positive_score + positives.first);
    score_ops_.mask_pairs(tile, positives.count, positive_ + positives.first, memory_.scores);
    score_ops_.mask_pairs(tile, excluded.count, excluded_ + excluded.first, memory_.scores);
  }

  /// Puts the positives' scores aside before anything is done with the tiles.
  void read_positives() {
    for_each([&](const ScoreTile& tile) {
      if (one_tile() || has_positives(tile)) make_scores(tile);
    });
  }

  /// From the tile's gradient, which has the negatives' part, and the positives' gradients: the tile's part
  /// of the embeddings' gradients. Tiles come in the order of for_each().
  void add_gradients(const ScoreTile& tile, const LossGradient<T>& gradient) {
    const Range positives = positives_of(tile);
    score_ops_.add_pair_gradients(tile, positives.count, positive_ + positives.first,
                                  memory_.positive_gradient + positives.first, memory_.inverse_temperature,
                                  memory_.gradient);
    walk_.add_embedding_gradients(tile, memory_.gradient, gradient);
  }

  /// The positives' gradients alone, added to what the embeddings' gradients hold. Touches the tiles that
  /// have positives.
  void add_positive_gradients(const LossGradient<T>& gradient) {
    for_each([&](const ScoreTile& tile) {
      if (!has_positives(tile)) return;
      const Range positives = positives_of(tile);
      ops_.zero(memory_.gradient, tile.rows * tile.columns);
      score_ops_.add_pair_gradients(tile, positives.count, positive_ + positives.first,
                                    memory_.positive_gradient + positives.first, memory_.inverse_temperature,
                                    memory_.gradient);
      walk_.add_query_gradients(tile, memory_.gradient, 1, gradient.query);
      walk_.add_document_gradients(tile, memory_.gradient, 1, gradient.document);
    });
  }

 private:
  static Range range(std::span<const std::int64_t> offsets, const ScoreTile& tile) {
    const std::int64_t first = offsets[tile.row];
    return {first, offsets[tile.row + tile.rows] - first};
  }

  void check(const LossBatch<T>& batch) const {
    check_column_lists(name_, "positive", batch.positive_offsets, batch.positive, batch);
    check_column_lists(name_, "excluded", batch.excluded_offsets, batch.excluded, batch);
    for (std::int64_t i = 0; i < batch.queries; ++i) {
      const std::int64_t first = batch.excluded_offsets[i], last = batch.excluded_offsets[i + 1];
      if (batch.positive_offsets[i] == batch.positive_offsets[i + 1]) {
        fail("{}: query {} of this rank has no positive", name_, i);
      }
      if (!std::ranges::is_sorted(batch.excluded.subspan(first, last - first))) {
        fail("{}: excluded columns of query {} do not ascend", name_, i);
      }
    }
  }

  static std::vector<ScorePair> as_pairs(std::span<const std::int64_t> offsets,
                                         std::span<const std::int32_t> columns) {
    std::vector<ScorePair> pairs;
    pairs.reserve(columns.size());
    for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
      for (std::int64_t k = offsets[i]; k < offsets[i + 1]; ++k) {
        pairs.push_back({static_cast<std::int32_t>(i), columns[static_cast<std::size_t>(k)]});
      }
    }
    return pairs;
  }

  std::string name_;
  Ops<T>& ops_;
  ScoreOps<T>& score_ops_;
  ScoreWalk<T> walk_;
  const LossBatch<T>* batch_ = nullptr;
  Memory memory_;
  std::vector<ScorePair> positive_list_, excluded_list_;
  const ScorePair *positive_ = nullptr, *excluded_ = nullptr;  ///< the lists on the device
};

}  // namespace toller
