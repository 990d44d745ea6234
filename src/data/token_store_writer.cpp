#include <limits>
#include <nlohmann/json.hpp>

#include "data/collection_tokenizer.h"
#include "data/token_store.h"
#include "error.h"
#include "io/hdf5_file.h"

namespace toller {
namespace {

template <class T>
void write_vector(Hdf5Writer& file, const std::string& name, const std::vector<T>& values) {
  file.write<T>(name, values, {static_cast<std::int64_t>(values.size())});
}

void write_ids(Hdf5Writer& file, const std::string& group, const std::vector<TextRecord>& records) {
  std::string bytes;
  std::vector<std::int64_t> offsets{0};
  offsets.reserve(records.size() + 1);
  for (const TextRecord& record : records) {
    bytes += record.id;
    offsets.push_back(std::ssize(bytes));
  }
  file.write_string(group + "/ids", bytes);
  write_vector(file, group + "/id_offsets", offsets);
}

/// Texts, compressed; in pieces, since that takes longer than to tokenize them.
class TextWriter {
 public:
  TextWriter(Hdf5Writer& file, const Collection& collection, const StoreWatch& watch)
      : file_(file), watch_(watch), total_(bytes_of(collection.documents) + bytes_of(collection.queries)) {}

  void write(const std::string& group, const std::vector<TextRecord>& records) {
    if (const std::int64_t bytes = bytes_of(records); bytes > 0) {
      write_bytes(group + "/text", records, bytes);
    } else {
      file_.write_string(group + "/text", "", true);
    }
    std::vector<std::int64_t> offsets{0};
    offsets.reserve(records.size() + 1);
    for (const TextRecord& record : records) offsets.push_back(offsets.back() + std::ssize(record.text));
    write_vector(file_, group + "/text_offsets", offsets);
  }

 private:
  static std::int64_t bytes_of(const std::vector<TextRecord>& records) {
    std::int64_t bytes = 0;
    for (const TextRecord& record : records) bytes += std::ssize(record.text);
    return bytes;
  }

  void write_bytes(const std::string& name, const std::vector<TextRecord>& records, std::int64_t bytes) {
    file_.begin(name, ElementType::kUint8, {bytes}, true);
    std::string pending;
    for (const TextRecord& record : records) {
      pending += record.text;
      if (std::ssize(pending) < kPiece) continue;
      append(std::string_view(pending).substr(0, pending.size() / kCompressedBlock * kCompressedBlock));
      pending.erase(0, pending.size() / kCompressedBlock * kCompressedBlock);
    }
    append(pending);
  }

  void append(std::string_view piece) {
    file_.append(std::span(reinterpret_cast<const std::uint8_t*>(piece.data()), piece.size()));
    written_ += std::ssize(piece);
    if (watch_.writing) watch_.writing(written_, total_);
  }

  static constexpr std::int64_t kPiece = 4 * kCompressedBlock;

  Hdf5Writer& file_;
  const StoreWatch& watch_;
  std::int64_t total_;
  std::int64_t written_ = 0;
};

void write_table(Hdf5Writer& file, const std::string& group, const TokenTable& table,
                 const std::vector<TextRecord>& records, TextWriter& texts) {
  write_vector(file, group + "/tokens", table.tokens);
  write_vector(file, group + "/offsets", table.offsets);
  write_ids(file, group, records);
  texts.write(group, records);
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
                                 const TextForm& form, int threads, const std::filesystem::path& path,
                                 const StoreWatch& watch) {
  for (const SideForm& side : {form.queries, form.documents}) {
    if (side.max_length < 3 || side.max_length == std::numeric_limits<std::int32_t>::max()) {
      fail("maximum length {}: at least 3 is needed ([CLS], a token, [SEP])", side.max_length);
    }
  }
  if (threads < 1) fail("tokenizing on {} threads is not possible", threads);
  Hdf5Writer file(path);
  CollectionTokenizer texts(collection, tokenizer, form, threads, path, watch);
  const TokenTable documents = texts.tokenize_documents();
  const TokenTable queries = texts.tokenize_queries();
  const TokenizeReport& report = texts.report();
  TextWriter text_writer(file, collection, watch);
  write_table(file, "/documents", documents, collection.documents, text_writer);
  write_table(file, "/queries", queries, collection.queries, text_writer);
  for (const auto& [name, judgements] : collection.splits) write_split(file, "/splits/" + name, judgements);
  file.write_string("/tokenizer", tokenizer.bytes());
  file.attribute_string("kind", "token_store");
  file.attribute_string("task", task_name(collection.task));
  file.attribute_int("format_version", kTokenStoreVersion);
  file.attribute_int("max_length", report.longest);
  file.attribute_string(kTextFormAttribute, to_json(form).dump());
  file.attribute_int("vocabulary_size", tokenizer.vocabulary_size());
  file.commit();
  texts.forget_blocks();
  return report;
}

}  // namespace toller
