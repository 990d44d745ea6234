#include "data/collection.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_map>

#include "data/json_line.h"
#include "data/tab_separated.h"
#include "data/text_file.h"
#include "error.h"
#include "text/unicode.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kQrelsHeader = "query-id\tcorpus-id\tscore";
constexpr std::string_view kTeacherHeader = "query-id\tcorpus-id\tscore\tteacher";

/// Rows by id. The keys are views into the records, which no longer move.
using RowOfId = std::unordered_map<std::string_view, std::int32_t>;

/// One line of corpus.jsonl or queries.jsonl.
TextRecord parse_record(std::string_view line, bool with_title, const LineReader& reader) {
  const nlohmann::json object = parse_json_line(line, reader);
  if (!object.is_object()) reader.fail_here("expected a JSON object, found {}", object.type_name());
  TextRecord record{string_field(object, "_id", false, reader), string_field(object, "text", false, reader)};
  check_id(record.id, "_id", reader);
  if (with_title)
    record.text = titled_text(string_field(object, "title", true, reader), std::move(record.text));
  if (is_blank(record.text)) reader.fail_here("the text of \"{}\" is empty", record.id);
  return record;
}

}  // namespace

std::vector<TextRecord> read_records(const fs::path& path, bool with_title, const ReadWatch& watch) {
  LineReader reader(path, watch);
  std::vector<TextRecord> records;
  std::string_view line;
  while (reader.next(line)) {
    if (records.size() == std::numeric_limits<std::int32_t>::max())
      reader.fail_here("more than 2^31 - 1 records");
    records.push_back(parse_record(line, with_title, reader));
  }
  if (records.empty()) fail("{}: holds no records", path.string());
  return records;
}

namespace {

RowOfId index_ids(const std::vector<TextRecord>& records, const fs::path& path) {
  RowOfId rows;
  rows.reserve(records.size());
  for (std::size_t row = 0; row < records.size(); ++row) {
    const auto [entry, is_new] = rows.emplace(records[row].id, static_cast<std::int32_t>(row));
    // A record is a line, so the row gives the line.
    if (!is_new) {
      fail("{}:{}: id \"{}\" occurs twice, first at line {}", path.string(), row + 1, records[row].id,
           entry->second + 1);
    }
  }
  return rows;
}

struct JudgementLine {
  Judgement judgement;
  std::int64_t line = 0;
};

std::int32_t parse_grade(std::string_view field, const LineReader& reader) {
  std::int32_t score = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), score);
  if (error != std::errc() || end != field.data() + field.size()) {
    reader.fail_here("score \"{}\" is not an integer of 32 bits{}", field,
                     reader.line_number() == 1 ? " (a header must read query-id, corpus-id, score)" : "");
  }
  return score;
}

JudgementLine parse_judgement(std::string_view line, const RowOfId& queries, const RowOfId& documents,
                              const LineReader& reader) {
  const std::vector<std::string_view> fields = tab_fields(line);
  if (fields.size() != 3 && fields.size() != 4) {
    reader.fail_here("expected 3 fields separated by tabs, or 4 with a teacher's score, found {}",
                     fields.size());
  }
  const auto query_row = queries.find(fields[0]);
  if (query_row == queries.end()) reader.fail_here("query \"{}\" is not in queries.jsonl", fields[0]);
  const auto document_row = documents.find(fields[1]);
  if (document_row == documents.end()) reader.fail_here("document \"{}\" is not in corpus.jsonl", fields[1]);
  Judgement judgement{query_row->second, document_row->second, parse_grade(fields[2], reader), std::nullopt};
  if (fields.size() == 4) judgement.score = parse_finite(fields[3], "teacher's score", reader);
  return {judgement, reader.line_number()};
}

/// Judgements of one qrels file, by query and document row. The header may be missing.
std::vector<Judgement> read_qrels(const fs::path& path, const Collection& collection, const RowOfId& queries,
                                  const RowOfId& documents, const ReadWatch& watch) {
  LineReader reader(path, watch);
  std::vector<JudgementLine> lines;
  std::string_view line;
  while (reader.next(line)) {
    if (reader.line_number() == 1 && (line == kQrelsHeader || line == kTeacherHeader)) continue;
    lines.push_back(parse_judgement(line, queries, documents, reader));
    const bool has_score = lines.back().judgement.score.has_value();
    if (has_score != lines.front().judgement.score.has_value()) {
      reader.fail_here("{} a teacher's score, unlike the lines before", has_score ? "has" : "lacks");
    }
  }
  if (lines.empty()) fail("{}: holds no judgements", path.string());
  const auto key = [](const JudgementLine& entry) {
    return std::tuple(entry.judgement.query, entry.judgement.document, entry.line);
  };
  std::ranges::sort(lines, {}, key);
  std::vector<Judgement> judgements;
  judgements.reserve(lines.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const Judgement& judgement = lines[i].judgement;
    if (i > 0 && judgement.query == judgements.back().query &&
        judgement.document == judgements.back().document) {
      fail("{}:{}: query \"{}\" and document \"{}\" are judged twice, first at line {}", path.string(),
           lines[i].line, collection.queries[judgement.query].id, collection.documents[judgement.document].id,
           lines[i - 1].line);
    }
    judgements.push_back(judgement);
  }
  return judgements;
}

std::string json_line(const nlohmann::ordered_json& record, const std::string& id) {
  try {
    return record.dump() + '\n';
  } catch (const nlohmann::json::type_error&) {
    fail("record \"{}\": its id or text is not valid UTF-8", id);
  }
}

void write_records(const std::vector<TextRecord>& records, bool with_title, const fs::path& path) {
  AtomicFileWriter file(path);
  for (const TextRecord& record : records) {
    nlohmann::ordered_json object{{"_id", record.id}};
    // Readers of this layout expect the field in every document.
    if (with_title) object["title"] = "";
    object["text"] = record.text;
    file.write(json_line(object, record.id));
  }
  file.commit();
}

void write_qrels(const Collection& collection, const std::vector<Judgement>& judgements,
                 const fs::path& path) {
  AtomicFileWriter file(path);
  const bool has_scores = judgements.front().score.has_value();
  file.write(fmt::format("{}\n", has_scores ? kTeacherHeader : kQrelsHeader));
  std::string row;
  for (const Judgement& judgement : judgements) {
    row.clear();
    fmt::format_to(std::back_inserter(row), "{}\t{}\t{}", collection.queries.at(judgement.query).id,
                   collection.documents.at(judgement.document).id, judgement.grade);
    if (has_scores) fmt::format_to(std::back_inserter(row), "\t{}", judgement.score.value());
    file.write(row + '\n');
  }
  file.commit();
}

}  // namespace

void check_split_name(const std::string& name, const fs::path& path) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  if (!name.empty() && std::ranges::all_of(name, is_plain)) return;
  fail("{}: \"{}\" is no name for a split; use letters, digits, - and _", path.string(), name);
}

Collection read_beir(const fs::path& folder, const ReadWatch& watch) {
  if (!fs::is_directory(folder)) fail("{}: no such folder", folder.string());
  const fs::path corpus = stored_as(folder / "corpus.jsonl");
  const fs::path queries = stored_as(folder / "queries.jsonl");
  const fs::path qrels = folder / "qrels";
  Collection collection;
  collection.documents = read_records(corpus, true, watch);
  collection.queries = read_records(queries, false, watch);
  const RowOfId document_rows = index_ids(collection.documents, corpus);
  const RowOfId query_rows = index_ids(collection.queries, queries);
  for (const auto& [name, path] : stored_files(qrels, ".tsv")) {
    check_split_name(name, path);
    collection.splits[name] = read_qrels(path, collection, query_rows, document_rows, watch);
  }
  if (collection.splits.empty()) fail("{}: holds no qrels file such as train.tsv", qrels.string());
  return collection;
}

void write_beir(const Collection& collection, const fs::path& folder) {
  const fs::path qrels = folder / "qrels";
  std::error_code error;
  fs::create_directories(qrels, error);
  if (error) fail("{}: cannot create the folder: {}", qrels.string(), error.message());
  for (const auto& [name, path] : stored_files(qrels, ".tsv")) {
    if (collection.splits.contains(name)) continue;
    fail("{}: belongs to another collection; remove it or choose another folder", path.string());
  }
  write_records(collection.documents, true, folder / "corpus.jsonl");
  write_records(collection.queries, false, folder / "queries.jsonl");
  for (const auto& [name, judgements] : collection.splits) {
    check_split_name(name, qrels / (name + ".tsv"));
    write_qrels(collection, judgements, qrels / (name + ".tsv"));
  }
}

}  // namespace toller
