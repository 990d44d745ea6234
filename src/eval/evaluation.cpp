#include "eval/evaluation.h"

#include <algorithm>
#include <chrono>
#include <span>
#include <unordered_map>

#include "error.h"
#include "eval/roc.h"
#include "text/tokenizer.h"

namespace toller {
namespace {

constexpr std::int64_t kLeastTopK = 100;  ///< the deepest of the metrics that are always there

class Stopwatch {
 public:
  /// Seconds since the last call, or since the start.
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(start_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

struct NamedMetric {
  const char* name;
  Metric metric;
  std::int64_t depth;
};

std::vector<NamedMetric> shown_metrics(std::int64_t top_k) {
  std::vector<NamedMetric> metrics{
      {"ndcg@10", make_metric("ndcg_cut", 10), 10},
      {"ndcg@100", make_metric("ndcg_cut", 100), 100},
      {"mrr@10", make_metric("recip_rank_cut", 10), 10},
      {"recall@10", make_metric("recall", 10), 10},
      {"recall@100", make_metric("recall", 100), 100},
      {"recall@1000", make_metric("recall", 1000), 1000},
      {"precision@10", make_metric("P", 10), 10},
      {"success@1", make_metric("success", 1), 1},
      {"map", make_metric("map"), 1},
  };
  std::erase_if(metrics, [&](const NamedMetric& named) { return named.depth > top_k; });
  return metrics;
}

/// `count` queries of the split, evenly spaced; all of them if there are no more.
Split sample(const Split& split, std::int64_t count) {
  if (count <= 0 || count >= split.size()) return split;
  Split part;
  part.name = split.name;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t query = i * split.size() / count;
    part.query.push_back(split.query[query]);
    for (std::int64_t row = split.offsets[query]; row < split.offsets[query + 1]; ++row) {
      part.document.push_back(split.document[row]);
      part.grade.push_back(split.grade[row]);
    }
    part.offsets.push_back(std::ssize(part.document));
  }
  return part;
}

std::vector<std::int32_t> own_documents(const TokenStore& store, const Split& split) {
  std::vector<std::int32_t> rows;
  for (const std::int32_t query : split.query) {
    rows.push_back(store.same_document.empty() ? -1 : store.same_document[query]);
  }
  return rows;
}

/// Grade by document row, without the query's own document.
std::unordered_map<std::int32_t, int> judgements_of(const Split& split, std::int64_t query,
                                                    std::int32_t own) {
  std::unordered_map<std::int32_t, int> grades;
  for (std::int64_t row = split.offsets[query]; row < split.offsets[query + 1]; ++row) {
    if (split.document[row] != own) grades[split.document[row]] = split.grade[row];
  }
  return grades;
}

RankedQuery rank_query(std::vector<Hit> hits, const std::unordered_map<std::int32_t, int>& judgements,
                       const std::vector<std::string>& ids) {
  std::ranges::sort(hits, [&](const Hit& a, const Hit& b) {  // as sort_as_trec_eval
    return a.score != b.score ? a.score > b.score : ids[a.document] > ids[b.document];
  });
  std::vector<int> grades, judged;
  for (const Hit& hit : hits) {
    const auto found = judgements.find(hit.document);
    grades.push_back(found == judgements.end() ? kNotJudged : std::max(found->second, 0));
  }
  for (const auto& [document, grade] : judgements) judged.push_back(std::max(grade, 0));
  return make_ranked_query(std::move(grades), judged, 1);
}

void add_ranking_metrics(const TokenStore& store, const Split& split, const std::vector<std::int32_t>& own,
                         const EvaluationOptions& options, Evaluation& evaluation) {
  const std::vector<NamedMetric> shown = shown_metrics(options.top_k);
  std::vector<Metric> metrics;
  for (const NamedMetric& named : shown) metrics.push_back(named.metric);
  MetricAverages averages(metrics, {.relevance_level = 1, .gain = options.gain});
  for (std::int64_t query = 0; query < split.size(); ++query) {
    averages.add(
        rank_query(evaluation.hits[query], judgements_of(split, query, own[query]), store.documents.ids));
  }
  const std::vector<double> values = averages.values();
  for (std::size_t i = 0; i < shown.size(); ++i) evaluation.metrics.emplace_back(shown[i].name, values[i]);
}

void add_auc(const Scorer& scorer, const Split& split, const std::vector<std::int32_t>& own,
             Communicator& communicator, Evaluation& evaluation) {
  JudgedDocuments judged;
  judged.excluded = own;
  for (std::int64_t query = 0; query < split.size(); ++query) {
    auto& relevant = judged.relevant.emplace_back();
    auto& nonrelevant = judged.nonrelevant.emplace_back();
    for (const auto& [document, grade] : judgements_of(split, query, own[query])) {
      (grade >= 1 ? relevant : nonrelevant).push_back(document);
    }
  }
  const RocAreas areas = roc_areas(scorer, judged, communicator);
  if (areas.pooled) evaluation.metrics.emplace_back("auc", *areas.pooled);
  if (areas.per_query) evaluation.metrics.emplace_back("auc_query", *areas.per_query);
  if (areas.judged) evaluation.metrics.emplace_back("auc_judged", *areas.judged);
}

void evaluate_scorer(const Scorer& scorer, const TokenStore& store, const Split& split,
                     const EvaluationOptions& options, Communicator& communicator, Evaluation& evaluation) {
  const std::vector<std::int32_t> own = own_documents(store, split);
  evaluation.query_rows = split.query;
  evaluation.queries = split.size();
  evaluation.documents = store.documents.rows();
  Stopwatch watch;
  evaluation.hits = exact_search(scorer, options.top_k, own, communicator);
  add_ranking_metrics(store, split, own, options, evaluation);
  evaluation.search_seconds = watch.lap();
  if (!options.auc) return;
  add_auc(scorer, split, own, communicator, evaluation);
  evaluation.auc_seconds = watch.lap();
}

void check(const Split& split, const EvaluationOptions& options) {
  if (options.top_k < kLeastTopK) {
    fail_usage("evaluation: top-k must be at least {} (for recall@{}), found {}", kLeastTopK, kLeastTopK,
               options.top_k);
  }
  if (split.size() == 0) fail("evaluation: the split '{}' has no queries", split.name);
}

}  // namespace

double Evaluation::metric(const std::string& name) const {
  const auto found = std::ranges::find(metrics, name, &std::pair<std::string, double>::first);
  if (found == metrics.end()) fail("evaluation: there is no metric '{}'", name);
  return found->second;
}

void check_same_tokenizer(const CheckpointReader& model, const TokenStore& store) {
  const CheckpointMeta& meta = model.meta();
  const bool fits = store.vocabulary_size <= meta.encoder.vocabulary_size;
  if (fits && is_same_tokenizer(meta.tokenizer, store.tokenizer)) return;
  fail(
      "{} was not trained with the tokenizer of {}: prepare the collection with the model's tokenizer "
      "(toller prepare --model)",
      model.path().string(), store.path.string());
}

void check_same_texts(const CheckpointReader& model, const TokenStore& store) {
  check_same_tokenizer(model, store);
  const std::string difference = prompt_difference(model.meta().form, store.form);
  if (difference.empty()) return;
  fail(
      "{} and {} have different prompts: {}; prepare the collection with the model's (toller prepare "
      "--model)",
      model.path().string(), store.path.string(), difference);
}

Evaluation evaluate_model(Embedder& embedder, const TokenStore& store, const Split& split,
                          const EvaluationOptions& options, Communicator& communicator) {
  check(split, options);
  Stopwatch watch;
  Evaluation evaluation;
  const Split part = sample(split, options.most_queries);
  const TokenTable query_table = store.queries.select(part.query);
  std::vector<float> queries(query_table.rows() * embedder.dimension());
  std::vector<float> documents(store.documents.rows() * embedder.dimension());
  embedder.embed_all(query_table, Side::kQueries, communicator, queries);
  embedder.embed_all(store.documents, Side::kDocuments, communicator, documents);
  const DenseScorer scorer(queries, documents, embedder.dimension());
  evaluation.encode_seconds = watch.lap();
  evaluate_scorer(scorer, store, part, options, communicator, evaluation);
  return evaluation;
}

Evaluation evaluate_bm25(const StoreTexts& texts, const TokenStore& store, const Split& split,
                         const EvaluationOptions& options, const Bm25Options& bm25,
                         Communicator& communicator) {
  check(split, options);
  if (std::ssize(texts.documents) != store.documents.rows() ||
      std::ssize(texts.queries) != store.queries.rows()) {
    fail("{}: {} documents and {} queries, but texts of {} and {}", store.path.string(),
         store.documents.rows(), store.queries.rows(), texts.documents.size(), texts.queries.size());
  }
  Stopwatch watch;
  Evaluation evaluation;
  const Split part = sample(split, options.most_queries);
  std::vector<std::string> queries;
  for (const std::int32_t row : part.query) queries.push_back(texts.queries[row]);
  const Bm25Index index(texts.documents, bm25);
  const Bm25Scorer scorer(index, queries);
  evaluation.encode_seconds = watch.lap();
  evaluate_scorer(scorer, store, part, options, communicator, evaluation);
  return evaluation;
}

nlohmann::ordered_json to_json(const Evaluation& evaluation) {
  nlohmann::ordered_json json;
  for (const auto& [name, value] : evaluation.metrics) json[name] = value;
  json["queries"] = evaluation.queries;
  json["documents"] = evaluation.documents;
  json["encode_seconds"] = evaluation.encode_seconds;
  json["search_seconds"] = evaluation.search_seconds;
  json["auc_seconds"] = evaluation.auc_seconds;
  return json;
}

TrecRun to_trec_run(const Evaluation& evaluation, const TokenStore& store, const std::string& tag) {
  TrecRun run;
  run.tag = tag;
  for (std::size_t query = 0; query < evaluation.hits.size(); ++query) {
    std::vector<ScoredDocument>& ranking = run.queries[store.queries.ids[evaluation.query_rows[query]]];
    for (const Hit& hit : evaluation.hits[query]) {
      ranking.push_back({store.documents.ids[hit.document], hit.score});
    }
  }
  return run;
}

}  // namespace toller
