#include <algorithm>
#include <unordered_map>

#include "data/collection.h"
#include "data/tab_separated.h"
#include "data/text_file.h"
#include "error.h"
#include "text/unicode.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kHeader = "score\tsentence1\tsentence2";

/// Where a line has its parts.
struct PairColumns {
  std::size_t score, first, second;
  std::size_t least_fields, most_fields;
};
constexpr PairColumns kPlain{0, 1, 2, 3, 3};
constexpr PairColumns kStsBenchmark{4, 5, 6, 7, 9};  ///< some lines say a licence at their end

struct PairFile {
  fs::path path;
  PairColumns columns;
};

/// The files of a folder by split name.
std::map<std::string, PairFile> find_pair_files(const fs::path& folder) {
  constexpr std::string_view kPrefix = "sts-";
  std::map<std::string, PairFile> found;
  std::error_code none;  // a folder that is not there has no files
  for (const auto& entry : fs::directory_iterator(folder / "pairs", none)) {
    if (entry.path().extension() == ".tsv") found[entry.path().stem().string()] = {entry.path(), kPlain};
  }
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() != ".csv" || !name.starts_with(kPrefix)) continue;
    const std::string split = name.substr(kPrefix.size());
    if (found.contains(split)) fail("{}: split '{}' is in pairs/ too", entry.path().string(), split);
    found[split] = {entry.path(), kStsBenchmark};
  }
  return found;
}

/// Distinct sentences, numbered as they come: "s1", "s2", … with a letter before.
class SentenceTable {
 public:
  SentenceTable(std::vector<TextRecord>& records, char letter) : records_(records), letter_(letter) {}

  std::int32_t row_of(std::string_view sentence) {
    const auto [entry, is_new] =
        rows_.emplace(std::string(sentence), static_cast<std::int32_t>(records_.size()));
    if (is_new) records_.push_back({fmt::format("{}{}", letter_, records_.size() + 1), entry->first});
    return entry->second;
  }

 private:
  std::vector<TextRecord>& records_;
  char letter_;
  std::unordered_map<std::string, std::int32_t> rows_;
};

std::vector<Judgement> read_pairs(const PairFile& file, SentenceTable& first, SentenceTable& second) {
  LineReader reader(file.path);
  const PairColumns& columns = file.columns;
  std::vector<Judgement> pairs;
  std::string_view line;
  while (reader.next(line)) {
    if (reader.line_number() == 1 && line == kHeader) continue;
    const std::vector<std::string_view> fields = tab_fields(line);
    if (fields.size() < columns.least_fields || fields.size() > columns.most_fields) {
      reader.fail_here("expected {} fields separated by tabs, found {}", columns.least_fields, fields.size());
    }
    for (const std::size_t column : {columns.first, columns.second}) {
      if (is_blank(fields[column])) reader.fail_here("sentence {} is empty", column - columns.first + 1);
    }
    const float score = parse_finite(fields[columns.score], "score", reader);
    pairs.push_back({first.row_of(fields[columns.first]), second.row_of(fields[columns.second]), 0, score});
  }
  if (pairs.empty()) fail("{}: holds no pairs", file.path.string());
  std::ranges::stable_sort(pairs, {}, &Judgement::query);
  return pairs;
}

}  // namespace

bool holds_scored_pairs(const fs::path& folder) {
  return !find_pair_files(folder).empty();
}

Collection read_scored_pairs(const fs::path& folder) {
  if (!fs::is_directory(folder)) fail("{}: no such folder", folder.string());
  Collection collection{.task = Task::kSimilarity, .documents = {}, .queries = {}, .splits = {}};
  SentenceTable first(collection.queries, 'a'), second(collection.documents, 'b');
  for (const auto& [split, file] : find_pair_files(folder)) {
    check_split_name(split, file.path);
    collection.splits[split] = read_pairs(file, first, second);
  }
  if (collection.splits.empty()) {
    fail("{}: holds neither pairs/*.tsv nor the STS benchmark's sts-*.csv", folder.string());
  }
  return collection;
}

}  // namespace toller
