// A collection of texts as it lies in files; all forms with examples in docs/formats.md. Any file may be
// compressed (.gz, .zst). With relevance judgements, in BEIR layout:
//   corpus.jsonl   {"_id": "d1", "title": "…", "text": "…"}      title optional
//   queries.jsonl  {"_id": "q1", "text": "…"}
//   qrels/<split>.tsv   header "query-id<TAB>corpus-id<TAB>score", then a row a judgement, integer score;
//                       optionally a fourth column "teacher", the score that another model gives the pair
// Scores above 0 are grades of relevance; 0 and below are judged not relevant and serve as hard negatives.
// With queries that have their documents beside them, a line each:
//   <split>.jsonl  lines of JSON in the forms of example_json.h
//   <split>.tsv    a header with query, positive and perhaps negative columns (example_table.h)
// Or with pairs of sentences that are scored by their similarity:
//   pairs/<split>.tsv   header "score<TAB>sentence1<TAB>sentence2", then a row a pair, any number as score
//   <split>.tsv         the same columns in any order
//   sts-<split>.csv     as the STS benchmark has them: genre, file, year, id, score, sentence1, sentence2
//   (tabs)
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/stored_file.h"

namespace toller {

/// What a collection is for.
enum class Task {
  kRetrieval,   ///< find the relevant documents of a query
  kSimilarity,  ///< tell how similar two sentences are: first ones are queries, second ones documents
};

struct TextRecord {
  std::string id;
  std::string text;  ///< title and text joined by a blank
};

struct Judgement {
  std::int32_t query = 0;     ///< row in Collection::queries
  std::int32_t document = 0;  ///< row in Collection::documents
  std::int32_t grade = 0;
  /// What a teacher says of the pair, or how similar the sentences are; all judgements of a split have one,
  /// or none.
  std::optional<float> score = std::nullopt;
};

struct Collection {
  Task task = Task::kRetrieval;
  std::vector<TextRecord> documents;
  std::vector<TextRecord> queries;
  std::map<std::string, std::vector<Judgement>>
      splits;  ///< by the name of the qrels or pairs file, sorted by query row
  /// What its files say that was not taken as it stands; for people.
  std::vector<std::string> notes;
};

/// Reads one file of the form of corpus.jsonl (`with_title`) or queries.jsonl. Errors as of read_beir, but an
/// id may occur twice.
std::vector<TextRecord> read_records(const std::filesystem::path& path, bool with_title,
                                     const ReadWatch& watch = {});

/// Reads a folder in BEIR layout. Errors name file and line: broken JSON, missing field, duplicate id, empty
/// text, unknown query or document in qrels, a teacher's score that is no number or that some lines lack, a
/// split without judgements, no split at all.
Collection read_beir(const std::filesystem::path& folder, const ReadWatch& watch = {});

/// Reads a folder of scored pairs. Each distinct sentence is a query or a document once. Errors name file and
/// line: a wrong number of fields, a score that is not a finite number, an empty sentence, a split without
/// pairs, no split at all.
Collection read_scored_pairs(const std::filesystem::path& folder, const ReadWatch& watch = {});

/// Whether there is a file that read_scored_pairs would read.
bool holds_scored_pairs(const std::filesystem::path& folder);

struct ReadOptions {
  /// Names, with commas between, of the columns of .tsv files that have no header line; empty: they have one.
  std::string columns;
  ReadWatch watch;
};

/// Any of the forms, by what is there. A folder with corpus.jsonl, queries.jsonl or qrels/ is in BEIR layout;
/// with pairs/ or sts-*.csv it holds scored pairs; else its files *.jsonl and *.tsv are its splits, whose
/// queries and documents are the same where ids, or without ids texts, are. A single file, which may be .json
/// too, is the split train.
Collection read_collection(const std::filesystem::path& path, const ReadOptions& options = {});

/// Names of splits become names in stores and on the command line: letters, digits, - and _. Error that names
/// `path` otherwise.
void check_split_name(const std::string& name, const std::filesystem::path& path);

/// Writes a folder in BEIR layout (every file through a temporary name).
void write_beir(const Collection& collection, const std::filesystem::path& folder);

}  // namespace toller
