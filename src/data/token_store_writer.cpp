#include <algorithm>
#include <chrono>
#include <exception>
#include <limits>
#include <nlohmann/json.hpp>

#include "data/token_store.h"
#include "error.h"
#include "io/hdf5_file.h"
#include "seconds_since.h"

namespace toller {
namespace {

/// Texts tokenized at a time: enough for all threads, little beside the texts themselves.
constexpr std::int64_t kBlock = 65536;

template <class T>
void write_vector(Hdf5Writer& file, const std::string& name, const std::vector<T>& values) {
  file.write<T>(name, values, {static_cast<std::int64_t>(values.size())});
}

/// Writes strings as one array of bytes and the offsets of the rows in it.
template <class Get>
void write_strings(Hdf5Writer& file, const std::string& bytes_name, const std::string& offsets_name,
                   const std::vector<TextRecord>& records, bool compress, Get get) {
  std::string bytes;
  std::vector<std::int64_t> offsets{0};
  offsets.reserve(records.size() + 1);
  for (const TextRecord& record : records) {
    bytes += get(record);
    offsets.push_back(static_cast<std::int64_t>(bytes.size()));
  }
  file.write_string(bytes_name, bytes, compress);
  write_vector(file, offsets_name, offsets);
}

class TableTokenizer {
 public:
  TableTokenizer(const Tokenizer& tokenizer, const SideForm& form, int threads, TokenizeReport& report)
      : tokenizer_(tokenizer), form_(form), threads_(threads), report_(report) {}

  TokenTable tokenize(const std::vector<TextRecord>& records) {
    TokenTable table;
    table.offsets.reserve(records.size() + 1);
    const auto rows = static_cast<std::int64_t>(records.size());
    for (std::int64_t first = 0; first < rows; first += kBlock) {
      for (const auto& row : encode_block(records, first, std::min(rows, first + kBlock))) {
        table.tokens.insert(table.tokens.end(), row.begin(), row.end());
        table.offsets.push_back(static_cast<std::int64_t>(table.tokens.size()));
        report_.longest = std::max(report_.longest, static_cast<std::int32_t>(row.size()));
      }
    }
    report_.texts += rows;
    report_.tokens += static_cast<std::int64_t>(table.tokens.size());
    report_.unknown += std::ranges::count(table.tokens, tokenizer_.special().unknown);
    return table;
  }

 private:
  /// One token more than is kept is asked for: if it comes, the text is longer than it may be.
  std::vector<std::int32_t> encode(const std::string& text, std::int64_t& cut) const {
    const std::int32_t most = form_.max_length;
    std::vector<std::int32_t> tokens = form_.prompt.empty()
                                           ? tokenizer_.encode(text, most + 1)
                                           : tokenizer_.encode(form_.prompt + text, most + 1);
    if (tokens.size() > static_cast<std::size_t>(most)) {
      tokens.resize(static_cast<std::size_t>(most));
      tokens.back() = tokenizer_.special().end;
      ++cut;
    }
    return tokens;
  }

  std::vector<std::vector<std::int32_t>> encode_block(const std::vector<TextRecord>& records,
                                                      std::int64_t first, std::int64_t last) {
    std::vector<std::vector<std::int32_t>> rows(static_cast<std::size_t>(last - first));
    std::int64_t cut = 0;
    std::exception_ptr error;  // an exception must not leave the parallel region
#pragma omp parallel for num_threads(threads_) schedule(dynamic, 256) reduction(+ : cut)
    for (std::int64_t row = first; row < last; ++row) {
      try {
        rows[row - first] = encode(records[row].text, cut);
      } catch (...) {
#pragma omp critical(toller_tokenize_error)
        error = std::current_exception();
      }
    }
    if (error) std::rethrow_exception(error);
    report_.cut += cut;
    return rows;
  }

  const Tokenizer& tokenizer_;
  const SideForm& form_;
  int threads_;
  TokenizeReport& report_;
};

void write_table(Hdf5Writer& file, const std::string& group, const TokenTable& table,
                 const std::vector<TextRecord>& records) {
  write_vector(file, group + "/tokens", table.tokens);
  write_vector(file, group + "/offsets", table.offsets);
  write_strings(file, group + "/ids", group + "/id_offsets", records, false,
                [](const TextRecord& record) -> const std::string& { return record.id; });
  write_strings(file, group + "/text", group + "/text_offsets", records, true,
                [](const TextRecord& record) -> const std::string& { return record.text; });
}

/// Judgements, which are sorted by query, as ragged rows.
void write_split(Hdf5Writer& file, const std::string& group, const std::vector<Judgement>& judgements) {
  Split split;
  for (const Judgement& judgement : judgements) {
    if (split.query.empty() || split.query.back() != judgement.query) {
      if (!split.query.empty()) split.offsets.push_back(static_cast<std::int64_t>(split.document.size()));
      split.query.push_back(judgement.query);
    }
    split.document.push_back(judgement.document);
    split.grade.push_back(judgement.grade);
    if (judgement.score) split.score.push_back(*judgement.score);
  }
  split.offsets.push_back(static_cast<std::int64_t>(split.document.size()));
  write_vector(file, group + "/query", split.query);
  write_vector(file, group + "/offsets", split.offsets);
  write_vector(file, group + "/document", split.document);
  write_vector(file, group + "/grade", split.grade);
  if (!split.score.empty()) write_vector(file, group + "/score", split.score);
}

}  // namespace

TokenizeReport write_token_store(const Collection& collection, const Tokenizer& tokenizer,
                                 const TextForm& form, int threads, const std::filesystem::path& path) {
  for (const SideForm& side : {form.queries, form.documents}) {
    if (side.max_length < 3 || side.max_length == std::numeric_limits<std::int32_t>::max()) {
      fail("maximum length {}: at least 3 is needed ([CLS], a token, [SEP])", side.max_length);
    }
  }
  if (threads < 1) fail("tokenizing on {} threads is not possible", threads);
  Hdf5Writer file(path);
  TokenizeReport report;
  const auto start = std::chrono::steady_clock::now();
  const auto tokenize = [&](const std::vector<TextRecord>& records, const SideForm& side) {
    return TableTokenizer(tokenizer, side, threads, report).tokenize(records);
  };
  const TokenTable documents = tokenize(collection.documents, form.documents);
  const TokenTable queries = tokenize(collection.queries, form.queries);
  report.seconds = seconds_since(start);
  write_table(file, "/documents", documents, collection.documents);
  write_table(file, "/queries", queries, collection.queries);
  for (const auto& [name, judgements] : collection.splits) write_split(file, "/splits/" + name, judgements);
  file.write_string("/tokenizer", tokenizer.bytes());
  file.attribute_string("kind", "token_store");
  file.attribute_string("task", task_name(collection.task));
  file.attribute_int("format_version", kTokenStoreVersion);
  file.attribute_int("max_length", report.longest);
  file.attribute_string(kTextFormAttribute, to_json(form).dump());
  file.attribute_int("vocabulary_size", tokenizer.vocabulary_size());
  file.commit();
  return report;
}

}  // namespace toller
