// TREC's text files: judgements ("query 0 document grade") and ranked runs ("query Q0 document rank score
// tag").
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "eval/ranking_metrics.h"

namespace toller {

struct ScoredDocument {
  std::string id;
  float score = 0;  ///< fp32, as trec_eval keeps it: scores that differ beyond that are ties
};

/// Rankings by query, the order of a query's documents as in the file.
struct TrecRun {
  std::string tag;  ///< of the last line
  std::map<std::string, std::vector<ScoredDocument>> queries;
};

using QueryJudgements = std::unordered_map<std::string, int>;  ///< document → grade
using Qrels = std::map<std::string, QueryJudgements>;

/// Reads a run. The rank column is ignored, as trec_eval does, and so is what follows the tag. Blank lines
/// and lines that begin with '#' are skipped. Error with file and line: fewer than six fields, a score that
/// is not a finite number, a document that a query has twice; an empty file.
TrecRun read_trec_run(const std::filesystem::path& path);

/// Reads judgements in TREC's form, or in BEIR's ("query-id corpus-id score" in the first line, then three
/// fields a line). Error with file and line: wrong number of fields, a grade that is not a whole number of at
/// most kHighestGrade, a document judged twice for a query; an empty file.
Qrels read_qrels(const std::filesystem::path& path);

/// Puts a ranking in trec_eval's order: score descending, ties by document id descending (bytes).
void sort_as_trec_eval(std::vector<ScoredDocument>& ranking);

/// Writes a run, each query in trec_eval's order with ranks from 1, and scores with all their digits.
/// Temporary name, fsync, rename. Error for an id with a blank, which the format cannot hold.
void write_trec_run(const TrecRun& run, const std::filesystem::path& path);

/// Writes judgements in TREC's form, in the same way.
void write_qrels(const Qrels& qrels, const std::filesystem::path& path);

}  // namespace toller
