#include "data/wordnet.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <unordered_map>

#include "data/text_file.h"
#include "error.h"
#include "random.h"

namespace toller {
namespace {

/// Pointer symbols of nouns, wninput(5).
constexpr std::array<std::string_view, 19> kNounPointers = {"!",  "@",  "@i", "~",  "~i", "#m", "#s",
                                                            "#p", "%m", "%s", "%p", "=",  "+",  ";c",
                                                            "-c", ";r", "-r", ";u", "-u"};

/// The fields of a line, separated by single blanks.
class Fields {
 public:
  Fields(std::string_view text, const LineReader& reader) : rest_(text), reader_(reader) {}

  std::string_view word(const char* name) {
    if (rest_.empty()) reader_.fail_here("the line ends before {}", name);
    const std::size_t end = rest_.find(' ');
    const std::string_view field = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    if (field.empty()) reader_.fail_here("{} is empty", name);
    return field;
  }

  /// A field of exactly `digits` digits.
  std::string_view digits(const char* name, std::size_t digits, int base = 10) {
    const std::string_view field = word(name);
    const auto is_digit = [base](char c) {
      return (c >= '0' && c <= '9') || (base == 16 && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')));
    };
    if (field.size() != digits || !std::ranges::all_of(field, is_digit)) {
      reader_.fail_here("{} \"{}\" is not {} {}digits", name, field, digits,
                        base == 16 ? "hexadecimal " : "");
    }
    return field;
  }

  int number(const char* name, std::size_t width, int base = 10) {
    const std::string_view field = digits(name, width, base);
    int value = 0;
    std::from_chars(field.data(), field.data() + field.size(), value, base);
    return value;
  }

  bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
  const LineReader& reader_;
};

/// A synset whose relations are still offsets.
struct ParsedSynset {
  Synset synset;
  std::vector<std::string> hypernyms;
  std::vector<std::string> hyponyms;
  std::int64_t line = 0;
};

void parse_pointer(Fields& fields, ParsedSynset& parsed, const LineReader& reader) {
  const std::string_view symbol = fields.word("a pointer symbol");
  if (std::ranges::find(kNounPointers, symbol) == kNounPointers.end()) {
    reader.fail_here("\"{}\" is no pointer symbol of a noun", symbol);
  }
  const std::string_view target = fields.digits("a pointer's synset offset", 8);
  const std::string_view part_of_speech = fields.word("a pointer's part of speech");
  if (part_of_speech.size() != 1 ||
      std::string_view("nvasr").find(part_of_speech[0]) == std::string_view::npos) {
    reader.fail_here("\"{}\" is no part of speech", part_of_speech);
  }
  fields.digits("a pointer's source/target", 4, 16);
  const bool is_hypernym = symbol == "@" || symbol == "@i";
  const bool is_hyponym = symbol == "~" || symbol == "~i";
  if ((is_hypernym || is_hyponym) && part_of_speech != "n") {
    reader.fail_here("pointer {} {} leads to part of speech \"{}\", expected n", symbol, target,
                     part_of_speech);
  }
  if (is_hypernym) parsed.hypernyms.emplace_back(target);
  if (is_hyponym) parsed.hyponyms.emplace_back(target);
}

/// offset lex_filenum ss_type w_cnt (word lex_id)… p_cnt (symbol offset pos source/target)… | gloss
ParsedSynset parse_synset(std::string_view line, const LineReader& reader) {
  const std::size_t bar = line.find(" | ");
  if (bar == std::string_view::npos) reader.fail_here("no gloss: \" | \" is missing");
  Fields fields(line.substr(0, bar), reader);
  ParsedSynset parsed;
  parsed.line = reader.line_number();
  parsed.synset.offset = fields.digits("the synset offset", 8);
  fields.digits("the lexicographer file number", 2);
  if (const auto type = fields.word("the synset type"); type != "n") {
    reader.fail_here("synset type \"{}\", expected n", type);
  }
  const int word_count = fields.number("the word count", 2, 16);
  if (word_count == 0) reader.fail_here("the synset has no words");
  for (int i = 0; i < word_count; ++i) {
    std::string word(fields.word("a word"));
    std::ranges::replace(word, '_', ' ');
    parsed.synset.words.push_back(std::move(word));
    fields.digits("a lexical id", 1, 16);
  }
  const int pointer_count = fields.number("the pointer count", 3);
  for (int i = 0; i < pointer_count; ++i) parse_pointer(fields, parsed, reader);
  if (!fields.at_end()) reader.fail_here("unexpected field \"{}\" before the gloss", fields.word("a field"));
  std::string_view gloss = line.substr(bar + 3);
  const std::size_t last = gloss.find_last_not_of(' ');
  if (last == std::string_view::npos) reader.fail_here("the gloss is empty");
  parsed.synset.gloss = gloss.substr(0, last + 1);
  return parsed;
}

using RowOfOffset = std::unordered_map<std::string_view, std::int32_t>;

std::vector<std::int32_t> resolve(const std::vector<std::string>& offsets, const RowOfOffset& rows,
                                  std::int64_t line, const std::filesystem::path& path) {
  std::vector<std::int32_t> resolved;
  resolved.reserve(offsets.size());
  for (const std::string& offset : offsets) {
    const auto row = rows.find(offset);
    if (row == rows.end())
      fail("{}:{}: a pointer leads to {}, which is not a synset of the file", path.string(), line, offset);
    resolved.push_back(row->second);
  }
  return resolved;
}

/// Judgements of one query after another, through an array of grades that is cleared by what was set.
class JudgementMaker {
 public:
  explicit JudgementMaker(const std::vector<Synset>& synsets)
      : synsets_(synsets), grades_(synsets.size(), 0) {}

  /// The judgements of synset `row` as query `query`, by document row.
  std::vector<Judgement> judgements(std::int32_t row, std::int32_t query) {
    const Synset& synset = synsets_[row];
    judged_.clear();
    for (const std::int32_t other : synset.hypernyms) judge(other, 2);
    for (const std::int32_t other : synset.hyponyms) judge(other, 2);
    for (const std::int32_t hypernym : synset.hypernyms) {
      for (const std::int32_t other : synsets_[hypernym].hyponyms) judge(other, 1);
    }
    std::ranges::sort(judged_);
    std::vector<Judgement> result;
    for (const std::int32_t document : judged_) {
      if (document != row) result.push_back({query, document, grades_[document]});
      grades_[document] = 0;
    }
    return result;
  }

 private:
  void judge(std::int32_t document, std::int8_t grade) {
    if (grades_[document] == 0) judged_.push_back(document);
    grades_[document] = std::max(grades_[document], grade);
  }

  const std::vector<Synset>& synsets_;
  std::vector<std::int8_t> grades_;
  std::vector<std::int32_t> judged_;
};

std::string split_of(const Synset& synset, const WordnetOptions& options) {
  std::uint64_t id = 0;
  std::from_chars(synset.offset.data(), synset.offset.data() + synset.offset.size(), id);
  const double point = uniform_open(random_block(options.seed, RandomStream::kSplit, id, 0)[0]);
  if (point < options.test_fraction) return "test";
  return point < options.test_fraction + options.dev_fraction ? "dev" : "train";
}

}  // namespace

std::vector<Synset> read_noun_synsets(const std::filesystem::path& path) {
  LineReader reader(path);
  std::vector<ParsedSynset> parsed;
  std::string_view line;
  while (reader.next(line)) {
    // The licence at the head of the file is indented by two blanks.
    if (!line.starts_with("  ")) parsed.push_back(parse_synset(line, reader));
  }
  if (parsed.empty()) fail("{}: holds no synsets", path.string());
  RowOfOffset rows;
  for (std::size_t row = 0; row < parsed.size(); ++row) {
    const bool is_new = rows.emplace(parsed[row].synset.offset, static_cast<std::int32_t>(row)).second;
    if (!is_new)
      fail("{}:{}: synset {} occurs twice", path.string(), parsed[row].line, parsed[row].synset.offset);
  }
  for (ParsedSynset& entry : parsed) {
    entry.synset.hypernyms = resolve(entry.hypernyms, rows, entry.line, path);
    entry.synset.hyponyms = resolve(entry.hyponyms, rows, entry.line, path);
  }
  std::vector<Synset> synsets;
  synsets.reserve(parsed.size());
  for (ParsedSynset& entry : parsed) synsets.push_back(std::move(entry.synset));
  return synsets;
}

Collection make_wordnet_collection(const std::vector<Synset>& synsets, const WordnetOptions& options) {
  Collection collection;
  JudgementMaker maker(synsets);
  for (std::size_t row = 0; row < synsets.size(); ++row) {
    const Synset& synset = synsets[row];
    TextRecord record{"n" + synset.offset,
                      fmt::format("{}: {}", fmt::join(synset.words, ", "), synset.gloss)};
    const auto query = static_cast<std::int32_t>(collection.queries.size());
    const std::string split_name = split_of(synset, options);
    std::vector<Judgement> judgements = maker.judgements(static_cast<std::int32_t>(row), query);
    if (options.inductive && split_name == "train") {
      std::erase_if(judgements, [&](const Judgement& judgement) {
        return split_of(synsets[judgement.document], options) != "train";
      });
    }
    if (!judgements.empty()) {
      collection.queries.push_back(record);
      auto& split = collection.splits[split_name];
      split.insert(split.end(), judgements.begin(), judgements.end());
    }
    collection.documents.push_back(std::move(record));
  }
  return collection;
}

}  // namespace toller
