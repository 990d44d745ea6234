#include "data/scored_pairs.h"

#include <algorithm>

#include "data/example_collector.h"
#include "data/tab_separated.h"
#include "data/text_file.h"
#include "error.h"
#include "text/unicode.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHeader = "score\tsentence1\tsentence2";
constexpr PairColumns kPlain{0, 1, 2, 3, 3};
constexpr PairColumns kStsBenchmark{4, 5, 6, 7, 9};  ///< some lines say a licence at their end

/// The files of a folder by split name.
std::map<std::string, PairFile> find_pair_files(const fs::path& folder) {
  constexpr std::string_view kPrefix = "sts-";
  std::map<std::string, PairFile> found;
  for (const auto& [split, path] : stored_files(folder / "pairs", ".tsv"))
    found[split] = {path, kPlain, kHeader};
  for (const auto& [name, path] : stored_files(folder, ".csv")) {
    if (!name.starts_with(kPrefix)) continue;
    const std::string split = name.substr(kPrefix.size());
    if (found.contains(split)) fail("{}: split '{}' is in pairs/ too", path.string(), split);
    found[split] = sts_benchmark_file(path);
  }
  return found;
}

std::vector<Judgement> read_pairs(const PairFile& file, RecordTable& first, RecordTable& second,
                                  const ReadWatch& watch) {
  LineReader reader(file.path, watch);
  const PairColumns& columns = file.columns;
  std::vector<Judgement> pairs;
  std::string_view line;
  while (reader.next(line)) {
    if (reader.line_number() == 1 && line == file.header) continue;
    const std::vector<std::string_view> fields = tab_fields(line);
    if (fields.size() < columns.least_fields || fields.size() > columns.most_fields) {
      reader.fail_here("expected {} fields separated by tabs, found {}", columns.least_fields, fields.size());
    }
    if (is_blank(fields[columns.first])) reader.fail_here("sentence 1 is empty");
    if (is_blank(fields[columns.second])) reader.fail_here("sentence 2 is empty");
    const auto row_of = [&](RecordTable& table, std::size_t column) {
      return table.row_of({"", std::string(fields[column])}, reader);
    };
    const float score = parse_finite(fields[columns.score], "score", reader);
    pairs.push_back({row_of(first, columns.first), row_of(second, columns.second), 0, score});
  }
  if (pairs.empty()) fail("{}: holds no pairs", file.path.string());
  std::ranges::stable_sort(pairs, {}, &Judgement::query);
  return pairs;
}

}  // namespace

PairFile sts_benchmark_file(const fs::path& path) {
  return {path, kStsBenchmark, ""};
}

Collection read_pair_files(const std::map<std::string, PairFile>& files, const ReadWatch& watch) {
  Collection collection;
  collection.task = Task::kSimilarity;
  RecordTable first(collection.queries, 'a', "sentence"), second(collection.documents, 'b', "sentence");
  for (const auto& [split, file] : files) {
    check_split_name(split, file.path);
    collection.splits[split] = read_pairs(file, first, second, watch);
  }
  first.make_ids();
  second.make_ids();
  return collection;
}

bool holds_scored_pairs(const fs::path& folder) {
  return !find_pair_files(folder).empty();
}

Collection read_scored_pairs(const fs::path& folder, const ReadWatch& watch) {
  if (!fs::is_directory(folder)) fail("{}: no such folder", folder.string());
  const std::map<std::string, PairFile> files = find_pair_files(folder);
  if (files.empty()) fail("{}: holds neither pairs/*.tsv nor the STS benchmark's sts-*.csv", folder.string());
  return read_pair_files(files, watch);
}

}  // namespace toller
