#include "eval/trec_files.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <string_view>
#include <unordered_set>

#include "data/text_file.h"
#include "error.h"

namespace toller {
namespace {

constexpr std::string_view kBlanks = " \t\r\v\f";

std::vector<std::string_view> fields_of(std::string_view line) {
  std::vector<std::string_view> fields;
  for (std::size_t begin = line.find_first_not_of(kBlanks); begin != line.npos;
       begin = line.find_first_not_of(kBlanks, begin)) {
    const std::size_t end = std::min(line.find_first_of(kBlanks, begin), line.size());
    fields.push_back(line.substr(begin, end - begin));
    begin = end;
  }
  return fields;
}

/// Calls visit(fields, line number) for every line that is neither blank nor a comment.
template <class Visit>
void for_each_line(const std::filesystem::path& path, Visit visit) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("{}: cannot open", path.string());
  std::string line;
  bool any = false;
  for (std::int64_t number = 1; std::getline(file, line); ++number) {
    const std::vector<std::string_view> fields = fields_of(line);
    if (fields.empty() || fields.front().front() == '#') continue;
    any = true;
    visit(fields, number);
  }
  if (file.bad()) fail("{}: cannot read", path.string());
  if (!any) fail("{}: the file is empty", path.string());
}

/// The whole of `text` as a number, or false.
template <class T>
bool parse_number(std::string_view text, T& value) {
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && end == text.data() + text.size();
}

void check_id(const std::string& id, const std::filesystem::path& path) {
  if (id.empty() || id.find_first_of(" \t\r\n\v\f") != id.npos || id.front() == '#') {
    fail(
        "{}: the id '{}' cannot be written: TREC's format has no place for empty ids, blanks or a leading "
        "'#'",
        path.string(), id);
  }
}

}  // namespace

TrecRun read_trec_run(const std::filesystem::path& path) {
  TrecRun run;
  std::unordered_map<std::string, std::unordered_set<std::string>> seen;
  for_each_line(path, [&](const std::vector<std::string_view>& fields, std::int64_t line) {
    if (fields.size() < 6) {
      fail("{}:{}: expected six fields (query Q0 document rank score tag), found {}", path.string(), line,
           fields.size());
    }
    const std::string query(fields[0]), document(fields[2]);
    double score = 0;
    if (!parse_number(fields[4], score) || !std::isfinite(static_cast<float>(score))) {
      fail("{}:{}: the score '{}' is not a finite number", path.string(), line, fields[4]);
    }
    if (!seen[query].insert(document).second) {
      fail("{}:{}: query '{}' has document '{}' twice", path.string(), line, query, document);
    }
    run.queries[query].push_back({document, static_cast<float>(score)});
    run.tag = fields[5];
  });
  return run;
}

Qrels read_qrels(const std::filesystem::path& path) {
  Qrels qrels;
  bool first = true, beir = false;
  for_each_line(path, [&](const std::vector<std::string_view>& fields, std::int64_t line) {
    if (std::exchange(first, false) && fields.size() == 3 && fields[0] == "query-id") {
      beir = true;
      return;
    }
    const std::size_t expected = beir ? 3 : 4;
    if (fields.size() != expected) {
      fail("{}:{}: expected {} fields ({}), found {}", path.string(), line, expected,
           beir ? "query document grade" : "query 0 document grade", fields.size());
    }
    const std::string query(fields[0]), document(fields[expected - 2]);
    int grade = 0;
    if (!parse_number(fields.back(), grade) || grade > kHighestGrade) {
      fail("{}:{}: the grade '{}' is not a whole number of at most {}", path.string(), line, fields.back(),
           kHighestGrade);
    }
    if (!qrels[query].emplace(document, grade).second) {
      fail("{}:{}: document '{}' is judged twice for query '{}'", path.string(), line, document, query);
    }
  });
  if (qrels.empty()) fail("{}: no judgement after the header line", path.string());
  return qrels;
}

void sort_as_trec_eval(std::vector<ScoredDocument>& ranking) {
  std::ranges::sort(ranking, [](const ScoredDocument& a, const ScoredDocument& b) {
    return a.score != b.score ? a.score > b.score : a.id > b.id;
  });
}

void write_trec_run(const TrecRun& run, const std::filesystem::path& path) {
  AtomicFileWriter file(path);
  for (const auto& [query, unsorted] : run.queries) {
    check_id(query, path);
    std::vector<ScoredDocument> ranking = unsorted;
    sort_as_trec_eval(ranking);
    for (std::size_t i = 0; i < ranking.size(); ++i) {
      check_id(ranking[i].id, path);
      // The shortest digits that read back as the same float.
      file.write(fmt::format("{} Q0 {} {} {} {}\n", query, ranking[i].id, i + 1, ranking[i].score, run.tag));
    }
  }
  file.commit();
}

void write_qrels(const Qrels& qrels, const std::filesystem::path& path) {
  AtomicFileWriter file(path);
  for (const auto& [query, judgements] : qrels) {
    check_id(query, path);
    for (const auto& [document, grade] : std::map(judgements.begin(), judgements.end())) {
      check_id(document, path);
      file.write(fmt::format("{} 0 {} {}\n", query, document, grade));
    }
  }
  file.commit();
}

}  // namespace toller
