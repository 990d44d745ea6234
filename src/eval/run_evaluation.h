// A run against judgements, as `trec_eval qrels run` does it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "eval/ranking_metrics.h"
#include "eval/trec_files.h"

namespace toller {

struct RunEvaluation {
  std::vector<Metric> metrics;
  std::int64_t queries = 0;      ///< over which the averages go
  std::vector<double> averages;  ///< one per metric
  std::map<std::string, std::vector<double>> by_query;
};

/// Averages over the queries that both have; with `complete` over all queries of the judgements, those
/// without a ranking counting 0. Error when no query is in both.
RunEvaluation evaluate_run(const Qrels& qrels, const TrecRun& run, const std::vector<Metric>& metrics,
                           const MetricOptions& options, bool complete);

}  // namespace toller
