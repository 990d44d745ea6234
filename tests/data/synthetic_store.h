// A token store in memory with random texts and graded judgements, hard negatives included.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include "data/token_store.h"

namespace toller {

struct SyntheticStoreOptions {
  std::int32_t queries = 40;
  std::int32_t documents = 60;
  std::int32_t vocabulary_size = 90;
  std::vector<std::int32_t> lengths{1, 2, 3, 5, 9, 17, 40};  ///< texts take them in turn
};

inline TokenStore synthetic_store(const SyntheticStoreOptions& options = {}) {
  std::mt19937 generator(99);
  const auto below = [&](std::int32_t n) {
    return std::uniform_int_distribution<std::int32_t>(0, n - 1)(generator);
  };
  TokenStore store;
  store.path = "synthetic.h5";
  store.vocabulary_size = options.vocabulary_size;
  store.max_length = *std::max_element(options.lengths.begin(), options.lengths.end());
  const auto fill = [&](TokenTable& table, std::int32_t rows, char letter) {
    for (std::int32_t row = 0; row < rows; ++row) {
      std::vector<std::int32_t> tokens(
          static_cast<std::size_t>(options.lengths[row % options.lengths.size()]));
      for (std::int32_t& token : tokens) token = 4 + below(options.vocabulary_size - 4);
      table.append(tokens, letter + std::to_string(row));
    }
  };
  fill(store.documents, options.documents, 'd');
  fill(store.queries, options.queries, 'q');
  store.same_document.assign(static_cast<std::size_t>(options.queries), -1);
  // Every third query stands in the collection itself.
  for (std::int32_t q = 0; q < options.queries; q += 3) store.same_document[q] = q % options.documents;
  Split split;
  split.name = "train";
  for (std::int32_t q = 0; q < options.queries; ++q) {
    std::set<std::int32_t> judged;
    while (judged.size() < 6) judged.insert(below(options.documents));
    split.query.push_back(q);
    std::int32_t grade = 2;
    for (const std::int32_t document : judged) {
      split.document.push_back(document);
      split.grade.push_back(grade >= 0 ? grade : 0);  // grades 2, 1, 0, 0, 0, 0
      --grade;
    }
    split.offsets.push_back(static_cast<std::int64_t>(split.document.size()));
  }
  store.splits["train"] = split;
  return store;
}

}  // namespace toller
