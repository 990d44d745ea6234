// Which rank keeps which part of the flat parameter buffer: where optimiser state is sharded (ZeRO stage 1:
// Rajbhandari et al. 2020, arXiv:1910.02054) and where ranks write a checkpoint together.
//
// The buffer is a row of buckets, and every rank has one piece of every bucket, so that the sums of gradients
// can be scattered while the backward pass still works on other buckets. Pieces are nearly equal: a bucket is
// cut between rows of matrices; vectors stay whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/parameters.h"

namespace toller {

/// A run of elements of the flat buffer.
struct ParameterPiece {
  std::int64_t offset = 0;  ///< in the flat buffer
  std::int64_t size = 0;    ///< may be 0
  std::int64_t place = 0;   ///< of its first element in memory that holds the rank's pieces alone
};

/// The part of one tensor in a piece: whole rows of a matrix, or all of a vector; never empty.
struct TensorPiece {
  std::size_t tensor = 0;  ///< index into ParameterTable::tensors()
  std::int64_t first = 0;  ///< element of the tensor
  std::int64_t size = 0;
  std::int64_t place = 0;  ///< as in ParameterPiece
};

class ParameterShards {
 public:
  /// `bounds`: of the buckets, ascending, 0 … table.size(); tensors begin there. `ranks` ≥ 1.
  ParameterShards(const ParameterTable& table, std::vector<std::int64_t> bounds, int ranks);

  int ranks() const { return static_cast<int>(pieces_.size()); }
  const std::vector<std::int64_t>& bounds() const { return bounds_; }
  /// A rank's piece of every bucket, in their order.
  std::span<const ParameterPiece> pieces(int rank) const { return pieces_[static_cast<std::size_t>(rank)]; }
  /// A rank's parts of tensors, in the order of the flat buffer.
  std::span<const TensorPiece> tensor_pieces(int rank) const {
    return tensor_pieces_[static_cast<std::size_t>(rank)];
  }
  /// Elements of all pieces of a rank.
  std::int64_t elements(int rank) const;
  /// Elements of every rank's piece of a bucket.
  std::span<const std::int64_t> counts(std::size_t bucket) const { return counts_[bucket]; }

 private:
  void add_tensor_pieces(const ParameterTable& table, std::size_t rank, const ParameterPiece& piece);

  std::vector<std::int64_t> bounds_;
  std::vector<std::vector<ParameterPiece>> pieces_;      ///< [ranks][buckets]
  std::vector<std::vector<TensorPiece>> tensor_pieces_;  ///< [ranks]
  std::vector<std::vector<std::int64_t>> counts_;        ///< [buckets][ranks]
};

}  // namespace toller
