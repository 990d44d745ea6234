// How ranks divide the queries of an evaluation (by query blocks, round robin; see for_each_score_block) and
// put their results together.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/communicator.h"
#include "eval/scorer.h"

namespace toller {

class QueryShares {
 public:
  QueryShares(std::int64_t queries, const Communicator& communicator)
      : queries_(queries), rank_(communicator.rank()), ranks_(communicator.size()) {}

  /// Queries of this rank, ascending.
  std::vector<std::int64_t> mine() const { return of_rank(rank_); }

  /// Those of rank 0, then of rank 1 …: the order in which a gather puts them.
  std::vector<std::int64_t> in_rank_order() const {
    std::vector<std::int64_t> all;
    for (int rank = 0; rank < ranks_; ++rank) {
      const std::vector<std::int64_t> part = of_rank(rank);
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }

 private:
  std::vector<std::int64_t> of_rank(int rank) const {
    std::vector<std::int64_t> rows;
    for (std::int64_t row = 0; row < queries_; ++row) {
      if (row / kQueryBlock % ranks_ == rank) rows.push_back(row);
    }
    return rows;
  }

  std::int64_t queries_;
  int rank_;
  int ranks_;
};

/// Concatenation over ranks of vectors whose lengths the others do not know.
inline std::vector<double> gather_varying(const std::vector<double>& local, Communicator& communicator) {
  const std::vector<std::int64_t> ones(communicator.size(), 1);
  const std::vector<double> length{static_cast<double>(local.size())};
  std::vector<double> lengths(communicator.size());
  communicator.all_gather(std::span(length), ones, std::span(lengths));
  std::vector<std::int64_t> counts(lengths.begin(), lengths.end());
  std::int64_t total = 0;
  for (const std::int64_t count : counts) total += count;
  std::vector<double> all(total);
  communicator.all_gather(std::span(local), counts, std::span(all));
  return all;
}

}  // namespace toller
