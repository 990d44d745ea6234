#include "eval/bm25.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "error.h"
#include "eval/text_analyzer.h"

namespace toller {
namespace {

struct Occurrence {
  std::int32_t term;
  std::int32_t document;
  std::int32_t frequency;
};

void check(const Bm25Options& options) {
  if (!(options.k1 >= 0)) fail_usage("BM25: k1 must be 0 or more, found {}", options.k1);
  if (!(options.b >= 0 && options.b <= 1)) fail_usage("BM25: b must lie in [0, 1], found {}", options.b);
}

}  // namespace

Bm25Index::Bm25Index(std::span<const std::string> documents, const Bm25Options& options)
    : documents_(std::ssize(documents)) {
  check(options);
  TextAnalyzer analyzer;
  std::vector<Occurrence> occurrences;
  std::vector<double> lengths(documents.size());
  double total_length = 0;
  for (std::size_t document = 0; document < documents.size(); ++document) {
    std::map<std::int32_t, std::int32_t> frequencies;
    for (std::string& term : analyzer.terms(documents[document])) {
      ++frequencies[terms_.emplace(std::move(term), static_cast<std::int32_t>(terms_.size())).first->second];
      ++lengths[document];
    }
    total_length += lengths[document];
    for (const auto& [term, frequency] : frequencies) {
      occurrences.push_back({term, static_cast<std::int32_t>(document), frequency});
    }
  }

  // A counting sort by term keeps the documents ascending.
  offsets_.assign(terms_.size() + 1, 0);
  for (const Occurrence& occurrence : occurrences) ++offsets_[occurrence.term + 1];
  for (std::size_t term = 0; term < terms_.size(); ++term) offsets_[term + 1] += offsets_[term];
  std::vector<std::int64_t> next(offsets_.begin(), offsets_.end() - 1);
  postings_.resize(occurrences.size());
  const auto count = static_cast<double>(documents_);
  for (const auto& [term, document, frequency] : occurrences) {
    const auto df = static_cast<double>(offsets_[term + 1] - offsets_[term]);
    const double idf = std::log1p((count - df + 0.5) / (df + 0.5));
    const double norm = 1 - options.b + options.b * lengths[document] * count / total_length;
    postings_[next[term]++] = {document,
                               static_cast<float>(idf * frequency / (frequency + options.k1 * norm))};
  }
}

std::span<const Bm25Index::Posting> Bm25Index::postings(const std::string& term) const {
  const auto found = terms_.find(term);
  if (found == terms_.end()) return {};
  const std::int64_t begin = offsets_[found->second], end = offsets_[found->second + 1];
  return std::span(postings_).subspan(begin, end - begin);
}

Bm25Scorer::Bm25Scorer(const Bm25Index& index, std::span<const std::string> queries) : index_(index) {
  TextAnalyzer analyzer;
  for (const std::string& text : queries) {
    std::map<std::string, float> counts;
    for (const std::string& term : analyzer.terms(text)) counts[term] += 1;
    std::vector<QueryTerm>& query = queries_.emplace_back();
    for (const auto& [term, count] : counts) query.push_back({index.postings(term), count});
  }
}

void Bm25Scorer::score(RowRange queries, RowRange documents, std::span<float> out) const {
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t query = queries.first; query < queries.last; ++query) {
    const auto row = out.subspan((query - queries.first) * documents.size(), documents.size());
    std::ranges::fill(row, 0.0F);
    for (const auto& [postings, count] : queries_[query]) {
      auto posting = std::ranges::lower_bound(postings, documents.first, {}, &Bm25Index::Posting::document);
      for (; posting != postings.end() && posting->document < documents.last; ++posting) {
        row[posting->document - documents.first] += count * posting->weight;
      }
    }
  }
}

}  // namespace toller
