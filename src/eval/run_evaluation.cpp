#include "eval/run_evaluation.h"

#include <algorithm>

#include "error.h"

namespace toller {
namespace {

RankedQuery rank_query(const QueryJudgements& judgements, std::vector<ScoredDocument> ranking,
                       int relevance_level) {
  sort_as_trec_eval(ranking);
  std::vector<int> grades;
  grades.reserve(ranking.size());
  for (const ScoredDocument& document : ranking) {
    const auto found = judgements.find(document.id);
    if (found == judgements.end()) {
      grades.push_back(kNotJudged);
    } else {
      grades.push_back(found->second < 0 ? kPooledNotJudged : found->second);
    }
  }
  std::vector<int> judged;
  judged.reserve(judgements.size());
  for (const auto& [document, grade] : judgements) judged.push_back(grade);
  return make_ranked_query(std::move(grades), judged, relevance_level);
}

}  // namespace

RunEvaluation evaluate_run(const Qrels& qrels, const TrecRun& run, const std::vector<Metric>& metrics,
                           const MetricOptions& options, bool complete) {
  MetricAverages averages(metrics, options);
  RunEvaluation result;
  for (const auto& [query, judgements] : qrels) {
    const auto ranking = run.queries.find(query);
    if (ranking == run.queries.end()) {
      if (complete) averages.add(rank_query(judgements, {}, options.relevance_level));
    } else {
      result.by_query[query] = averages.add(rank_query(judgements, ranking->second, options.relevance_level));
    }
  }
  if (result.by_query.empty())
    fail("no query of the run has judgements: are the run and the qrels of one collection?");
  result.metrics = metrics;
  result.queries = averages.queries();
  result.averages = averages.values();
  return result;
}

}  // namespace toller
