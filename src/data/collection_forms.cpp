// Which form a collection has.
#include <algorithm>
#include <optional>

#include "data/collection.h"
#include "data/example_collector.h"
#include "data/example_json.h"
#include "data/example_table.h"
#include "data/scored_pairs.h"
#include "data/tab_separated.h"
#include "data/text_file.h"
#include "error.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

/// A file of JSON lines, or a table.
struct SplitFile {
  fs::path path;
  std::optional<TableColumns> columns;  ///< none: JSON
  std::string header;                   ///< a table's first line; empty: it has none

  bool has_scores() const { return columns && columns->has_scores(); }
};

SplitFile open_table(const fs::path& path, const ReadOptions& options) {
  if (!options.columns.empty()) {
    return {path, TableColumns(tab_fields(options.columns, ','), "--columns"), ""};
  }
  LineReader reader(path);
  std::string_view line;
  if (!reader.next(line)) fail("{}: is empty", path.string());
  const std::vector<std::string_view> fields = tab_fields(line);
  if (!TableColumns::are_names(fields)) {
    reader.fail_here(
        "expected a header line with the names of the columns, such as query, positive, negative, separated "
        "by "
        "tabs; --columns names those of a file without one");
  }
  return {path, TableColumns(fields, fmt::format("{}:1", path.string())), std::string(line)};
}

SplitFile open_split(const fs::path& path, const ReadOptions& options) {
  const fs::path extension = plain_name(path).extension();
  if (extension == ".tsv") return open_table(path, options);
  if (extension == ".jsonl" || extension == ".json") return {path, std::nullopt, ""};
  fail("{}: the name of a collection's file ends in .jsonl, .json, .tsv or .csv, perhaps with .gz or .zst",
       path.string());
}

void read_examples(const SplitFile& file, const std::string& split, ExampleCollector& collector,
                   const ReadWatch& watch) {
  LineReader reader(file.path, watch);
  for (std::string_view line; reader.next(line);) {
    if (!file.columns) {
      collector.add(parse_json_example(line, reader), reader);
    } else if (file.header.empty() || reader.line_number() > 1) {
      collector.add(file.columns->example(line, reader), reader);
    }
  }
  collector.end_split(split, reader);
}

Collection read_splits(const std::map<std::string, fs::path>& paths, const ReadOptions& options) {
  std::map<std::string, SplitFile> files;
  for (const auto& [split, path] : paths) {
    check_split_name(split, path);
    files.emplace(split, open_split(path, options));
  }
  const auto has_scores = [](const auto& entry) { return entry.second.has_scores(); };
  if (std::ranges::any_of(files, has_scores)) {
    std::map<std::string, PairFile> pairs;
    for (const auto& [split, file] : files) {
      if (!file.has_scores()) fail("{}: holds no scored pairs, unlike the other files", file.path.string());
      pairs[split] = {file.path, file.columns->pair_columns(), file.header};
    }
    return read_pair_files(pairs, options.watch);
  }
  if (!options.columns.empty() &&
      std::ranges::none_of(files, [](const auto& entry) { return entry.second.columns.has_value(); })) {
    fail_usage("--columns is for .tsv files; {} is none", paths.begin()->second.string());
  }
  Collection collection;
  ExampleCollector collector(collection);
  for (const auto& [split, file] : files) read_examples(file, split, collector, options.watch);
  collector.make_ids();
  return collection;
}

Collection read_folder(const fs::path& folder, const ReadOptions& options) {
  const auto is_there = [&](const char* name) { return fs::exists(stored_as(folder / name)); };
  const bool is_beir = is_there("corpus.jsonl") || is_there("queries.jsonl") || is_there("qrels");
  const bool is_scored = !is_beir && holds_scored_pairs(folder);
  if ((is_beir || is_scored) && !options.columns.empty()) {
    fail_usage("--columns is for <split>.tsv files; {} has another form", folder.string());
  }
  if (is_beir) return read_beir(folder, options.watch);
  std::map<std::string, fs::path> splits = stored_files(folder, ".jsonl");
  for (const auto& [split, path] : stored_files(folder, ".tsv")) {
    const auto [entry, is_new] = splits.emplace(split, path);
    if (!is_new) fail("{}: {} is there too; remove one", path.string(), entry->second.filename().string());
  }
  if (is_scored && !splits.empty()) {
    fail("{}: stands beside pairs/ or sts-*.csv, which are a collection by themselves; move one of them",
         splits.begin()->second.string());
  }
  if (is_scored) return read_scored_pairs(folder, options.watch);
  if (splits.empty()) {
    fail(
        "{}: holds no collection: neither corpus.jsonl, nor <split>.jsonl or <split>.tsv, nor pairs/ or "
        "sts-*.csv",
        folder.string());
  }
  return read_splits(splits, options);
}

}  // namespace

Collection read_collection(const fs::path& path, const ReadOptions& options) {
  if (fs::is_directory(path)) return read_folder(path, options);
  if (!fs::exists(path)) fail("{}: no such file or folder", path.string());
  if (plain_name(path).extension() != ".csv") return read_splits({{"train", path}}, options);
  if (!options.columns.empty()) fail_usage("--columns is for .tsv files; {} is none", path.string());
  return read_pair_files({{"train", sts_benchmark_file(path)}}, options.watch);
}

}  // namespace toller
