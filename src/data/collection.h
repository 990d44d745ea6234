// A collection of texts with relevance judgements, as it lies in files (BEIR layout):
//   corpus.jsonl   {"_id": "d1", "title": "…", "text": "…"}      title optional
//   queries.jsonl  {"_id": "q1", "text": "…"}
//   qrels/<split>.tsv   header "query-id<TAB>corpus-id<TAB>score", then a row a judgement, integer score
// Scores above 0 are grades of relevance; 0 and below are judged not relevant and serve as hard negatives.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace toller {

struct TextRecord {
  std::string id;
  std::string text;  ///< title and text joined by a blank
};

struct Judgement {
  std::int32_t query = 0;     ///< row in Collection::queries
  std::int32_t document = 0;  ///< row in Collection::documents
  std::int32_t grade = 0;
};

struct Collection {
  std::vector<TextRecord> documents;
  std::vector<TextRecord> queries;
  std::map<std::string, std::vector<Judgement>>
      splits;  ///< by the name of the qrels file, sorted by query row
};

/// Reads one file of the form of corpus.jsonl (`with_title`) or queries.jsonl. Errors as of read_beir, but an
/// id may occur twice.
std::vector<TextRecord> read_records(const std::filesystem::path& path, bool with_title);

/// Reads a folder in BEIR layout. Errors name file and line: broken JSON, missing field, duplicate id, empty
/// text, unknown query or document in qrels, a split without judgements, no split at all.
Collection read_beir(const std::filesystem::path& folder);

/// Writes a folder in BEIR layout (every file through a temporary name).
void write_beir(const Collection& collection, const std::filesystem::path& folder);

}  // namespace toller
