// Tables, separated by tabs, of queries with their documents: columns query (or anchor), positive (or pos),
// and any number of negatives (negative, neg, negative_1, negative_2 …); or of scored pairs: score,
// sentence1, sentence2. In any order.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/example_collector.h"
#include "data/scored_pairs.h"

namespace toller {

class TableColumns {
 public:
  /// Error that names `origin` if a name is not known, stands twice, or is missing.
  TableColumns(const std::vector<std::string_view>& names, const std::string& origin);
  /// Whether one of them is a name that is known, so that a line of them is a header.
  static bool are_names(const std::vector<std::string_view>& fields);

  bool has_scores() const { return has_scores_; }
  /// Of a table with scores.
  PairColumns pair_columns() const;
  /// Of a table without: the example of a line. An empty field is no negative. Error at the reader's line for
  /// another number of fields.
  Example example(std::string_view line, const LineReader& reader) const;

 private:
  std::size_t count_;
  bool has_scores_;
  std::size_t score_, first_, second_;  ///< first and second: the sentences, or query and positive
  std::vector<std::size_t> negatives_;
};

}  // namespace toller
