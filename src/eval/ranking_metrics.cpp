#include "eval/ranking_metrics.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "error.h"

namespace toller {
namespace {

/// Floor of a query's value in a geometric mean (trec_eval's MIN_GEO_MEAN).
constexpr double kGeometricFloor = 1e-5;
/// Smoothing of inferred average precision (trec_eval's INFAP_EPSILON).
constexpr double kInferredEpsilon = 1e-5;

double ratio(double numerator, double denominator) {
  return denominator == 0 ? 0 : numerator / denominator;
}

bool is_relevant(const RankedQuery& query, std::size_t rank) {
  return query.grades[rank] >= query.relevance_level;
}

double ranked(const RankedQuery& query) {
  return static_cast<double>(query.grades.size());
}

std::size_t depth(const RankedQuery& query, double cutoff) {
  return std::min(query.grades.size(), static_cast<std::size_t>(cutoff));
}

double relevant_within(const RankedQuery& query, double cutoff) {
  std::int64_t count = 0;
  for (std::size_t rank = 0; rank < depth(query, cutoff); ++rank) count += is_relevant(query, rank);
  return static_cast<double>(count);
}

double average_precision(const RankedQuery& query, double cutoff) {
  double sum = 0, found = 0;
  for (std::size_t rank = 0; rank < depth(query, cutoff); ++rank) {
    if (is_relevant(query, rank)) sum += ++found / static_cast<double>(rank + 1);
  }
  return ratio(sum, static_cast<double>(query.relevant));
}

double reciprocal_rank(const RankedQuery& query, double cutoff) {
  for (std::size_t rank = 0; rank < depth(query, cutoff); ++rank) {
    if (is_relevant(query, rank)) return 1.0 / static_cast<double>(rank + 1);
  }
  return 0;
}

double gain_of(int grade, Gain gain) {
  if (grade <= 0) return 0;
  return gain == Gain::kLinear ? grade : std::exp2(grade) - 1;
}

double discount(std::size_t rank) {
  return 1 / std::log2(static_cast<double>(rank + 2));
}

/// The best ranking has the highest grades first; a judged document is in it whether it was retrieved or not.
double ideal_dcg(const RankedQuery& query, double cutoff, Gain gain) {
  double sum = 0;
  for (std::size_t rank = 0; rank < query.judged.size() && static_cast<double>(rank) < cutoff; ++rank) {
    sum += gain_of(query.judged[rank], gain) * discount(rank);
  }
  return sum;
}

double ndcg(const RankedQuery& query, double cutoff, const MetricOptions& options) {
  double dcg = 0;
  for (std::size_t rank = 0; rank < depth(query, cutoff); ++rank) {
    dcg += gain_of(query.grades[rank], options.gain) * discount(rank);
  }
  return ratio(dcg, ideal_dcg(query, cutoff, options.gain));
}

/// Buckley & Voorhees (2004): share of the first R judged non-relevant documents that come after a relevant
/// one.
double bpref(const RankedQuery& query) {
  const std::int64_t judged_nonrelevant = std::ssize(query.judged) - query.relevant;
  const double pairs = static_cast<double>(std::min(judged_nonrelevant, query.relevant));
  double sum = 0;
  std::int64_t nonrelevant = 0;
  for (std::size_t rank = 0; rank < query.grades.size(); ++rank) {
    if (query.grades[rank] < 0) continue;
    if (!is_relevant(query, rank)) {
      ++nonrelevant;
    } else {
      sum += 1 - ratio(static_cast<double>(std::min(nonrelevant, query.relevant)), pairs);
    }
  }
  return ratio(sum, static_cast<double>(query.relevant));
}

/// Yilmaz & Aslam (2006): the expected precision at a relevant document, from the judged part of the pool
/// above it.
double inferred_average_precision(const RankedQuery& query) {
  double sum = 0, relevant = 0, nonrelevant = 0, pooled = 0;
  for (std::size_t rank = 0; rank < query.grades.size(); ++rank) {
    if (query.grades[rank] == kNotJudged) continue;
    if (query.grades[rank] == kPooledNotJudged) {
      ++pooled;
    } else if (!is_relevant(query, rank)) {
      ++nonrelevant;
    } else {
      const double above = static_cast<double>(rank);
      const double judged_precision =
          (relevant + kInferredEpsilon) / (relevant + nonrelevant + 2 * kInferredEpsilon);
      sum += (1 + (relevant + nonrelevant + pooled) * judged_precision) / (above + 1);
      ++relevant;
    }
  }
  return ratio(sum, static_cast<double>(query.relevant));
}

/// trec_eval turns a share of R into a count so; the 0.9 rounds up.
double count_of_share(const RankedQuery& query, double share) {
  return std::floor(share * static_cast<double>(query.relevant) + 0.9);
}

/// Highest precision at any rank where at least the share `recall` of the relevant documents has been found.
double interpolated_precision(const RankedQuery& query, double recall) {
  const double needed = count_of_share(query, recall);
  double best = 0, found = 0;
  for (std::size_t rank = 0; rank < query.grades.size(); ++rank) {
    found += is_relevant(query, rank);
    if (found >= needed) best = std::max(best, found / static_cast<double>(rank + 1));
  }
  return best;
}

double eleven_point_average(const RankedQuery& query) {
  double sum = 0;
  for (int i = 0; i <= 10; ++i) sum += interpolated_precision(query, i / 10.0);
  return sum / 11;
}

double precision(const RankedQuery& query, double cutoff) {
  return ratio(relevant_within(query, cutoff), cutoff);
}

double recall(const RankedQuery& query, double cutoff) {
  return ratio(relevant_within(query, cutoff), static_cast<double>(query.relevant));
}

double relative_precision(const RankedQuery& query, double cutoff) {
  return ratio(relevant_within(query, cutoff), std::min(cutoff, static_cast<double>(query.relevant)));
}

double judged_nonrelevant_ranked(const RankedQuery& query) {
  return static_cast<double>(std::ranges::count_if(
      query.grades, [&](int grade) { return grade >= 0 && grade < query.relevance_level; }));
}

double harmonic_mean(double a, double b) {
  return ratio(2 * a * b, a + b);
}

enum class Parameter { kNone, kCount, kShare };

struct Family {
  const char* name;
  Averaging averaging;
  Parameter parameter;
  std::vector<double> defaults;  ///< parameters of trec_metrics()
  double (*value)(const RankedQuery& query, double parameter, const MetricOptions& options);
};

using Query = const RankedQuery&;
using Options = const MetricOptions&;
constexpr double kAll = 1e18;  ///< a cut-off beyond every ranking

const std::vector<Family>& families() {
  using enum Averaging;
  using enum Parameter;
  static const std::vector<double> ranks{5, 10, 15, 20, 30, 100, 200, 500, 1000};
  static const std::vector<double> tenths{0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1};
  static const std::vector<double> multiples{0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.6, 1.8, 2};
  static const std::vector<double> once{0};
  static const std::vector<Family> table{
      {"num_ret", kSum, kNone, once, [](Query q, double, Options) { return ranked(q); }},
      {"num_rel", kSum, kNone, once, [](Query q, double, Options) { return double(q.relevant); }},
      {"num_rel_ret", kSum, kNone, once, [](Query q, double, Options) { return double(q.relevant_ranked); }},
      {"map", kMean, kNone, once, [](Query q, double, Options) { return average_precision(q, kAll); }},
      {"gm_map", kGeometricMean, kNone, once,
       [](Query q, double, Options) { return average_precision(q, kAll); }},
      {"Rprec", kMean, kNone, once,
       [](Query q, double, Options) { return precision(q, double(q.relevant)); }},
      {"bpref", kMean, kNone, once, [](Query q, double, Options) { return bpref(q); }},
      {"recip_rank", kMean, kNone, once, [](Query q, double, Options) { return reciprocal_rank(q, kAll); }},
      {"recip_rank_cut", kMean, kCount, {}, [](Query q, double k, Options) { return reciprocal_rank(q, k); }},
      {"iprec_at_recall", kMean, kShare, tenths,
       [](Query q, double share, Options) { return interpolated_precision(q, share); }},
      {"P", kMean, kCount, ranks, [](Query q, double k, Options) { return precision(q, k); }},
      {"recall", kMean, kCount, ranks, [](Query q, double k, Options) { return recall(q, k); }},
      {"infAP", kMean, kNone, once, [](Query q, double, Options) { return inferred_average_precision(q); }},
      {"gm_bpref", kGeometricMean, kNone, once, [](Query q, double, Options) { return bpref(q); }},
      {"Rprec_mult", kMean, kShare, multiples,
       [](Query q, double share, Options) { return precision(q, count_of_share(q, share)); }},
      {"11pt_avg", kMean, kNone, once, [](Query q, double, Options) { return eleven_point_average(q); }},
      {"ndcg", kMean, kNone, once, [](Query q, double, Options o) { return ndcg(q, kAll, o); }},
      {"ndcg_cut", kMean, kCount, ranks, [](Query q, double k, Options o) { return ndcg(q, k, o); }},
      {"map_cut", kMean, kCount, ranks, [](Query q, double k, Options) { return average_precision(q, k); }},
      {"relative_P", kMean, kCount, ranks,
       [](Query q, double k, Options) { return relative_precision(q, k); }},
      {"success",
       kMean,
       kCount,
       {1, 5, 10},
       [](Query q, double k, Options) { return double(reciprocal_rank(q, k) > 0); }},
      {"set_P", kMean, kNone, once, [](Query q, double, Options) { return precision(q, ranked(q)); }},
      {"set_relative_P", kMean, kNone, once,
       [](Query q, double, Options) { return relative_precision(q, ranked(q)); }},
      {"set_recall", kMean, kNone, once, [](Query q, double, Options) { return recall(q, kAll); }},
      {"set_map", kMean, kNone, once,
       [](Query q, double, Options) { return precision(q, ranked(q)) * recall(q, kAll); }},
      {"set_F", kMean, kNone, once,
       [](Query q, double, Options) { return harmonic_mean(precision(q, ranked(q)), recall(q, kAll)); }},
      {"num_nonrel_judged_ret", kSum, kNone, once,
       [](Query q, double, Options) { return judged_nonrelevant_ranked(q); }},
  };
  return table;
}

Metric at(const Family& family, double parameter) {
  Metric metric{family.name, family.averaging, parameter, family.value};
  if (family.parameter == Parameter::kCount) metric.name += fmt::format("_{:.0f}", parameter);
  if (family.parameter == Parameter::kShare) metric.name += fmt::format("_{:.2f}", parameter);
  return metric;
}

}  // namespace

RankedQuery make_ranked_query(std::vector<int> grades, const std::vector<int>& judged, int relevance_level) {
  RankedQuery query;
  query.grades = std::move(grades);
  query.relevance_level = relevance_level;
  for (const int grade : judged) {
    if (grade > kHighestGrade) fail("grade {} of a judgement is above {}", grade, kHighestGrade);
    if (grade >= 0) query.judged.push_back(grade);
  }
  std::ranges::sort(query.judged, std::greater<>());
  query.relevant = std::ranges::count_if(query.judged, [&](int grade) { return grade >= relevance_level; });
  query.relevant_ranked =
      std::ranges::count_if(query.grades, [&](int grade) { return grade >= relevance_level; });
  return query;
}

Metric make_metric(const std::string& family, double parameter) {
  std::string names;
  for (const Family& known : families()) {
    if (family == known.name) {
      if (known.parameter == Parameter::kCount && (parameter < 1 || parameter != std::floor(parameter))) {
        fail_usage("metric {}: the cut-off must be a whole number above 0, found {}", family, parameter);
      }
      return at(known, parameter);
    }
    names += fmt::format("{}{}", names.empty() ? "" : ", ", known.name);
  }
  fail_usage("unknown metric '{}'; known are {}", family, names);
}

std::vector<Metric> trec_metrics() {
  std::vector<Metric> metrics;
  for (const Family& family : families()) {
    for (const double parameter : family.defaults) metrics.push_back(at(family, parameter));
  }
  return metrics;
}

MetricAverages::MetricAverages(std::vector<Metric> metrics, const MetricOptions& options)
    : metrics_(std::move(metrics)), options_(options), sums_(metrics_.size()) {}

std::vector<double> MetricAverages::add(const RankedQuery& query) {
  std::vector<double> values(metrics_.size());
  for (std::size_t i = 0; i < metrics_.size(); ++i) {
    values[i] = metrics_[i].value(query, metrics_[i].parameter, options_);
    const bool geometric = metrics_[i].averaging == Averaging::kGeometricMean;
    sums_[i] += geometric ? std::log(std::max(values[i], kGeometricFloor)) : values[i];
  }
  ++queries_;
  return values;
}

std::vector<double> MetricAverages::values() const {
  std::vector<double> values = sums_;
  if (queries_ == 0) return values;
  for (std::size_t i = 0; i < metrics_.size(); ++i) {
    if (metrics_[i].averaging == Averaging::kSum) continue;
    values[i] /= static_cast<double>(queries_);
    if (metrics_[i].averaging == Averaging::kGeometricMean) values[i] = std::exp(values[i]);
  }
  return values;
}

}  // namespace toller
