#include "model/parameter_shards.h"

#include <algorithm>
#include <utility>

#include "error.h"

namespace toller {
namespace {

/// The last place at or before `element` where the buffer may be cut.
std::int64_t cut_before(const ParameterTable& table, std::int64_t element) {
  const std::vector<TensorView>& tensors = table.tensors();
  if (element == table.size()) return element;
  const auto after = std::ranges::upper_bound(tensors, element, {}, &TensorView::offset);
  const TensorView& tensor = *std::prev(after);
  if (tensor.shape.size() < 2) return tensor.offset;
  const std::int64_t row = tensor.size / tensor.shape.front();
  return tensor.offset + (element - tensor.offset) / row * row;
}

void check_bounds(const ParameterTable& table, const std::vector<std::int64_t>& bounds) {
  const bool ascends = std::ranges::adjacent_find(bounds, std::greater_equal<>()) == bounds.end();
  if (bounds.size() < 2 || bounds.front() != 0 || bounds.back() != table.size() || !ascends) {
    fail("shards: the bounds of the buckets do not lead from 0 to {}", table.size());
  }
  for (const std::int64_t bound : bounds) {
    const bool begins =
        bound == table.size() ||
        std::ranges::find(table.tensors(), bound, &TensorView::offset) != table.tensors().end();
    if (!begins) fail("shards: no tensor begins at the bound {}", bound);
  }
}

}  // namespace

ParameterShards::ParameterShards(const ParameterTable& table, std::vector<std::int64_t> bounds, int ranks)
    : bounds_(std::move(bounds)) {
  if (ranks < 1) fail("shards: {} ranks", ranks);
  check_bounds(table, bounds_);
  pieces_.resize(static_cast<std::size_t>(ranks));
  tensor_pieces_.resize(pieces_.size());
  std::vector<std::int64_t> places(pieces_.size(), 0);
  for (std::size_t bucket = 0; bucket + 1 < bounds_.size(); ++bucket) {
    const std::int64_t begin = bounds_[bucket], size = bounds_[bucket + 1] - begin;
    const auto cut = [&](int rank) {
      return rank == ranks ? begin + size : std::max(begin, cut_before(table, begin + size * rank / ranks));
    };
    std::vector<std::int64_t>& counts = counts_.emplace_back();
    for (int rank = 0; rank < ranks; ++rank) {
      const auto r = static_cast<std::size_t>(rank);
      const ParameterPiece piece{cut(rank), cut(rank + 1) - cut(rank), places[r]};
      places[r] += piece.size;
      counts.push_back(piece.size);
      pieces_[r].push_back(piece);
      add_tensor_pieces(table, r, piece);
    }
  }
}

void ParameterShards::add_tensor_pieces(const ParameterTable& table, std::size_t rank,
                                        const ParameterPiece& piece) {
  const std::vector<TensorView>& tensors = table.tensors();
  const std::int64_t end = piece.offset + piece.size;
  for (std::size_t index = 0; index < tensors.size(); ++index) {
    const std::int64_t from = std::max(piece.offset, tensors[index].offset);
    const std::int64_t to = std::min(end, tensors[index].offset + tensors[index].size);
    if (from >= to) continue;
    tensor_pieces_[rank].push_back(
        {index, from - tensors[index].offset, to - from, piece.place + from - piece.offset});
  }
}

std::int64_t ParameterShards::elements(int rank) const {
  const ParameterPiece& last = pieces(rank).back();
  return last.place + last.size;
}

}  // namespace toller
