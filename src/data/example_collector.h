// Queries with the documents that belong to them, as files of training examples have them, line by line, made
// into a collection. Positives get grade 1, negatives grade 0: hard negatives of that query.
//
// Where lines give ids, an id is one query or document, whatever line it is in; it must have the same text
// everywhere. Texts without an id are the same query or document if they are equal, and get an id: "q" or "d"
// and the number of the row.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/collection.h"
#include "data/text_file.h"

namespace toller {

struct ExampleText {
  std::string id;  ///< empty: none
  std::string text;
  std::optional<float> score = std::nullopt;  ///< a teacher's, of the query and this document
};

/// What a line holds.
struct Example {
  ExampleText query;
  std::vector<ExampleText> positives;
  std::vector<ExampleText> negatives;
  bool has_prompt = false;  ///< a text to put before the query, which is not taken over
};

/// Whether a field or column is called negative_1, negative_2 or so on.
bool is_numbered_negative(std::string_view name);

/// Finds records by their id or by their text, which it does not copy.
class RecordIndex {
 public:
  RecordIndex(const std::vector<TextRecord>& records, std::string TextRecord::*key)
      : records_(records), key_(key) {}

  /// The row of the record with this key, or −1.
  std::int32_t find(std::string_view key) const;
  /// Adds a record; none with this key is there yet.
  void add(std::int32_t row);

 private:
  const std::vector<TextRecord>& records_;
  std::string TextRecord::*key_;
  std::unordered_multimap<std::uint64_t, std::int32_t> rows_;  ///< by hash
};

/// Records, each once, in the order in which they came.
class RecordTable {
 public:
  /// `letter` begins the ids that are made, `noun` says in errors what the records are.
  RecordTable(std::vector<TextRecord>& records, char letter, const char* noun);

  /// The row of a text, which is added if it is new. Error at the reader's line that names the first one if
  /// the id has another text there.
  std::int32_t row_of(ExampleText text, const LineReader& reader);
  /// Gives ids to the records that have none.
  void make_ids();

 private:
  struct Place {
    std::int32_t file = 0;
    std::int64_t line = 0;
  };

  std::vector<TextRecord>& records_;
  char letter_;
  const char* noun_;
  RecordIndex by_id_, by_text_;
  std::vector<std::filesystem::path> files_;
  std::vector<Place> places_;  ///< of the records, where they came first
};

class ExampleCollector {
 public:
  explicit ExampleCollector(Collection& collection);

  /// Adds a line to the judgements of the split in hand. Errors, at the reader's line: an empty text, no
  /// positives, a score that other lines lack or have.
  void add(Example example, const LineReader& reader);
  /// Ends the split in hand: its judgements go into the collection. The same pair of query and document twice
  /// is one judgement. Where one line calls a document positive that another calls negative for the same
  /// query, it is positive, and a note of the collection says how often. Error if two scores of a pair
  /// differ.
  void end_split(const std::string& name, const LineReader& reader);
  /// After the last split.
  void make_ids();

 private:
  struct JudgementLine {
    Judgement judgement;
    std::int64_t line = 0;
  };

  void note(const std::string& text, const LineReader& reader);
  void judge(std::int32_t query, std::vector<ExampleText> documents, std::int32_t grade,
             const LineReader& reader);
  /// Error if two judgements of the same pair differ in score.
  void check_scores(const JudgementLine& first, const JudgementLine& second, const LineReader& reader) const;

  Collection& collection_;
  RecordTable queries_;
  RecordTable documents_;
  std::vector<JudgementLine> lines_;  ///< of the split in hand
  std::int64_t prompts_ = 0;          ///< lines of the split in hand that have one
};

}  // namespace toller
