// Ranking metrics over graded judgements, as trec_eval 9.0.7 defines them (trec.nist.gov/trec_eval). nDCG is
// that of Järvelin & Kekäläinen (2002) with discount 1/log2(rank + 1); its gain is 2^grade − 1 (Burges et al.
// 2005) unless linear gain, which is trec_eval's, is asked for.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace toller {

enum class Gain { kExponential, kLinear };

struct MetricOptions {
  int relevance_level = 1;  ///< lowest grade that counts as relevant (nDCG uses every grade above 0)
  Gain gain = Gain::kExponential;
};

inline constexpr int kHighestGrade = 1000;   ///< 2^grade must stay a finite double
inline constexpr int kNotJudged = -1;        ///< the document has no judgement
inline constexpr int kPooledNotJudged = -2;  ///< it has one below 0: it was pooled but nobody judged it

/// What the metrics see of one query: the grades of the ranked documents and what there was to find.
struct RankedQuery {
  std::vector<int> grades;  ///< in rank order: a grade ≥ 0, kNotJudged or kPooledNotJudged
  std::vector<int> judged;  ///< grades ≥ 0 of all judged documents, descending
  int relevance_level = 1;
  std::int64_t relevant = 0;         ///< judged documents at or above the level
  std::int64_t relevant_ranked = 0;  ///< those among `grades`
};

/// `judged`: the grades of all judgements of the query, in any order. Error for one above kHighestGrade.
RankedQuery make_ranked_query(std::vector<int> grades, const std::vector<int>& judged, int relevance_level);

enum class Averaging { kMean, kSum, kGeometricMean };

/// A metric at one parameter (its cut-off, recall level or multiple of R; none for those that take none).
struct Metric {
  std::string name;  ///< trec_eval's: "ndcg_cut_10", "iprec_at_recall_0.10", "map"
  Averaging averaging = Averaging::kMean;
  double parameter = 0;
  double (*value)(const RankedQuery& query, double parameter, const MetricOptions& options) = nullptr;
};

/// The metric of a family, e.g. ("ndcg_cut", 10). UsageError that lists the families for an unknown one.
/// Beyond trec_eval's there is "recip_rank_cut": the reciprocal rank if it is within the cut-off, else 0.
Metric make_metric(const std::string& family, double parameter = 0);

/// All metrics with trec_eval's default cut-offs, in the order in which trec_eval prints them.
std::vector<Metric> trec_metrics();

/// Sums over queries, then one number per metric.
class MetricAverages {
 public:
  MetricAverages(std::vector<Metric> metrics, const MetricOptions& options);

  /// Values of one query, in the order of metrics(); also added to the averages.
  std::vector<double> add(const RankedQuery& query);
  std::int64_t queries() const { return queries_; }
  const std::vector<Metric>& metrics() const { return metrics_; }
  /// One value per metric, over all queries added.
  std::vector<double> values() const;

 private:
  std::vector<Metric> metrics_;
  MetricOptions options_;
  std::vector<double> sums_;
  std::int64_t queries_ = 0;
};

}  // namespace toller
