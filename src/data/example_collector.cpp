#include "data/example_collector.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "error.h"
#include "io/checksum.h"
#include "text/unicode.h"

namespace toller {
namespace {

std::uint64_t hash_of(std::string_view text) {
  return checksum_of(std::as_bytes(std::span(text)));
}

/// What a message calls a record: its id or the beginning of its text.
std::string name_of(const TextRecord& record) {
  constexpr std::size_t kMost = 40;
  const std::string& name = record.id.empty() ? record.text : record.id;
  return replace_invalid_utf8(name.substr(0, kMost));
}

}  // namespace

bool is_numbered_negative(std::string_view name) {
  constexpr std::string_view kPrefix = "negative_";
  return name.starts_with(kPrefix) && name.size() > kPrefix.size() &&
         name.find_first_not_of("0123456789", kPrefix.size()) == name.npos;
}

std::int32_t RecordIndex::find(std::string_view key) const {
  const auto [first, last] = rows_.equal_range(hash_of(key));
  const auto found =
      std::find_if(first, last, [&](const auto& row) { return records_[row.second].*key_ == key; });
  return found == last ? -1 : found->second;
}

void RecordIndex::add(std::int32_t row) {
  rows_.emplace(hash_of(records_[row].*key_), row);
}

RecordTable::RecordTable(std::vector<TextRecord>& records, char letter, const char* noun)
    : records_(records),
      letter_(letter),
      noun_(noun),
      by_id_(records, &TextRecord::id),
      by_text_(records, &TextRecord::text) {}

std::int32_t RecordTable::row_of(ExampleText text, const LineReader& reader) {
  const bool has_id = !text.id.empty();
  const std::int32_t known = has_id ? by_id_.find(text.id) : by_text_.find(text.text);
  if (known >= 0) {
    if (records_[known].text != text.text) {
      reader.fail_here("{} \"{}\" has another text than at {}:{}", noun_, text.id,
                       files_[places_[known].file].string(), places_[known].line);
    }
    return known;
  }
  if (records_.size() == std::numeric_limits<std::int32_t>::max()) {
    reader.fail_here("more than 2^31 - 1 different texts");
  }
  const auto row = static_cast<std::int32_t>(records_.size());
  records_.push_back({std::move(text.id), std::move(text.text)});
  (has_id ? by_id_ : by_text_).add(row);
  if (files_.empty() || files_.back() != reader.path()) files_.push_back(reader.path());
  places_.push_back({static_cast<std::int32_t>(files_.size()) - 1, reader.line_number()});
  return row;
}

void RecordTable::make_ids() {
  for (std::size_t row = 0; row < records_.size(); ++row) {
    if (!records_[row].id.empty()) continue;
    std::string id = fmt::format("{}{}", letter_, row + 1);
    while (by_id_.find(id) >= 0) id += '_';  // a line gave it to another record
    records_[row].id = std::move(id);
  }
}

ExampleCollector::ExampleCollector(Collection& collection)
    : collection_(collection),
      queries_(collection.queries, 'q', "query"),
      documents_(collection.documents, 'd', "document") {}

void ExampleCollector::judge(std::int32_t query, std::vector<ExampleText> documents, std::int32_t grade,
                             const LineReader& reader) {
  for (ExampleText& document : documents) {
    if (is_blank(document.text)) {
      reader.fail_here("the text of a {} is empty", grade > 0 ? "positive" : "negative");
    }
    const std::optional<float> score = document.score;
    const std::int32_t row = documents_.row_of(std::move(document), reader);
    lines_.push_back({{query, row, grade, score}, reader.line_number()});
    if (score.has_value() != lines_.front().judgement.score.has_value()) {
      reader.fail_here("{} a teacher's score, unlike the first document of the file",
                       score.has_value() ? "a document has" : "a document lacks");
    }
  }
}

void ExampleCollector::add(Example example, const LineReader& reader) {
  if (is_blank(example.query.text)) reader.fail_here("the text of the query is empty");
  if (example.positives.empty()) reader.fail_here("the query has no positives");
  const std::int32_t query = queries_.row_of(std::move(example.query), reader);
  judge(query, std::move(example.positives), 1, reader);
  judge(query, std::move(example.negatives), 0, reader);
  if (example.has_prompt) ++prompts_;
}

void ExampleCollector::check_scores(const JudgementLine& first, const JudgementLine& second,
                                    const LineReader& reader) const {
  if (first.judgement.score == second.judgement.score) return;
  fail("{}:{}: query \"{}\" and document \"{}\" have another score than at line {}", reader.path().string(),
       second.line, name_of(collection_.queries[first.judgement.query]),
       name_of(collection_.documents[first.judgement.document]), first.line);
}

void ExampleCollector::note(const std::string& text, const LineReader& reader) {
  collection_.notes.push_back(fmt::format("{}: {}", reader.path().string(), text));
}

void ExampleCollector::end_split(const std::string& name, const LineReader& reader) {
  if (lines_.empty()) fail("{}: holds no examples", reader.path().string());
  // Of the same pair, positive comes first.
  std::ranges::sort(lines_, {}, [](const JudgementLine& entry) {
    return std::tuple(entry.judgement.query, entry.judgement.document, -entry.judgement.grade, entry.line);
  });
  std::vector<Judgement> judgements;
  std::int64_t contradictions = 0;
  for (std::size_t i = 0, first = 0; i < lines_.size(); ++i) {
    const Judgement &judgement = lines_[i].judgement, &kept = lines_[first].judgement;
    const bool is_same = i > 0 && judgement.query == kept.query && judgement.document == kept.document;
    if (!is_same) {
      judgements.push_back(judgement);
      first = i;
      continue;
    }
    check_scores(lines_[first], lines_[i], reader);
    if (judgement.grade < kept.grade && lines_[i - 1].judgement.grade == kept.grade) ++contradictions;
  }
  if (contradictions > 0) {
    note(fmt::format("documents that are both positive and negative of a query are positive: {}",
                     contradictions),
         reader);
  }
  if (prompts_ > 0)
    note(fmt::format("prompts that are not taken over (--query-prompt gives one to all queries): {}",
                     prompts_),
         reader);
  prompts_ = 0;
  collection_.splits[name] = std::move(judgements);
  lines_.clear();
}

void ExampleCollector::make_ids() {
  queries_.make_ids();
  documents_.make_ids();
}

}  // namespace toller
