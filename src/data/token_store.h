// The token store: what training and evaluation read. HDF5, format in docs/formats.md:
//   /documents/{tokens int32 [T], offsets int64 [N+1], ids uint8, id_offsets int64 [N+1], text uint8,
//   text_offsets} /queries/…                the same /splits/<name>/{query int32 [Q], offsets int64 [Q+1],
//   document int32 [R], grade int32 [R], score float32 [R] if there is one} /tokenizer uint8 the serialised
//   tokenizer attributes format_version, kind = "token_store", task = "retrieval" or "similarity",
//   max_length, vocabulary_size, text_form (JSON, see text/text_form.h)
// Rows are ragged: tokens of row i lie at tokens[offsets[i] … offsets[i+1]). There is no padding anywhere.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/collection.h"
#include "text/text_form.h"
#include "text/tokenizer.h"

namespace toller {

/// Attribute format_version of the stores that this program writes and reads.
inline constexpr std::int64_t kTokenStoreVersion = 1;
/// The attribute with TokenStore::form.
inline constexpr const char* kTextFormAttribute = "text_form";
/// What attribute task says of it.
inline const char* task_name(Task task) {
  return task == Task::kSimilarity ? "similarity" : "retrieval";
}

/// Ragged rows of tokens with the identifiers of the rows.
struct TokenTable {
  std::vector<std::int64_t> offsets{0};
  std::vector<std::int32_t> tokens;
  std::vector<std::string> ids;

  std::int64_t rows() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::int32_t length(std::int64_t row) const {
    return static_cast<std::int32_t>(offsets[row + 1] - offsets[row]);
  }
  void append(std::span<const std::int32_t> row_tokens, std::string id) {
    tokens.insert(tokens.end(), row_tokens.begin(), row_tokens.end());
    offsets.push_back(static_cast<std::int64_t>(tokens.size()));
    ids.push_back(std::move(id));
  }
  std::span<const std::int32_t> row(std::int64_t row) const {
    return {tokens.data() + offsets[row], static_cast<std::size_t>(length(row))};
  }
  /// A table of some rows, in the order given.
  TokenTable select(std::span<const std::int32_t> rows) const {
    TokenTable part;
    for (const std::int32_t row : rows) part.append(this->row(row), ids[row]);
    return part;
  }
};

/// Judgements of one split, grouped by query: query[i] has judgements [offsets[i], offsets[i+1]).
struct Split {
  std::string name;
  std::vector<std::int32_t> query;  ///< rows of TokenStore::queries, ascending
  std::vector<std::int64_t> offsets{0};
  std::vector<std::int32_t> document;  ///< rows of TokenStore::documents
  std::vector<std::int32_t> grade;     ///< > 0 relevant, ≤ 0 judged not relevant (a hard negative)
  /// Of a judgement: a teacher's, or, where the task is similarity, how similar the pair is. Empty: none.
  std::vector<float> score;

  std::int64_t size() const { return static_cast<std::int64_t>(query.size()); }
};

struct TokenStore {
  std::filesystem::path path;
  Task task = Task::kRetrieval;
  TokenTable documents;
  TokenTable queries;
  std::map<std::string, Split> splits;
  std::string tokenizer;  ///< serialised, see Tokenizer::from_bytes
  TextForm form;          ///< what was done to the texts
  std::int32_t vocabulary_size = 0;
  std::int32_t max_length = 0;              ///< longest row, special tokens included
  std::vector<std::int32_t> same_document;  ///< per query: the document with the query's own id, or −1

  /// The split, or an Error that lists those the store has.
  const Split& split(const std::string& name) const;
  /// Null where there is none.
  const Split* find_split(const std::string& name) const;
};

/// What tokenizing a collection came to, documents and queries together.
struct TokenizeReport {
  std::int64_t texts = 0;
  std::int64_t tokens = 0;       ///< special tokens included
  std::int64_t unknown = 0;      ///< tokens that are [UNK]
  std::int64_t cut = 0;          ///< texts that were longer than their max_length
  std::int32_t longest = 0;      ///< tokens of the longest text, after cutting
  double seconds = 0;            ///< tokenizing alone
  std::int64_t kept_texts = 0;   ///< of the texts, those that an interrupted run had tokenized
  std::int64_t kept_tokens = 0;  ///< their tokens
};

struct TokenizeProgress {
  std::int64_t texts = 0;       ///< tokenized so far, without those kept
  std::int64_t tokens = 0;      ///< of these
  std::int64_t kept_texts = 0;  ///< taken over from an interrupted run so far
  std::int64_t total = 0;       ///< all texts
};

/// Whom write_token_store tells how far it is; each may be empty. What they throw ends the work.
struct StoreWatch {
  std::function<void(const TokenizeProgress&)> tokenizing;
  std::function<void(std::int64_t bytes, std::int64_t total)> writing;  ///< of the texts, uncompressed
  std::function<void(const std::string&)> say;                          ///< what became of kept tokens
  /// Tokens are kept of blocks of so many texts, in collections of more than so many.
  std::int64_t block = 65536;
  std::int64_t least_kept = 262144;
};

/// Where write_token_store keeps tokens while it works.
std::filesystem::path kept_tokens_path(const std::filesystem::path& store);

/// Tokenizes a collection on `threads` threads, its texts in the form given, and writes the store
/// (atomically). Of a large collection the tokens are kept in a file beside it, kept_tokens_path (format in
/// token_block_file.h), until the store is there: if it is interrupted, the next call takes them over, as far
/// as tokenizer, form and texts are the same. The store is the same in any case.
TokenizeReport write_token_store(const Collection& collection, const Tokenizer& tokenizer,
                                 const TextForm& form, int threads, const std::filesystem::path& path,
                                 const StoreWatch& watch = {});

/// Reads and checks a store: checksums, monotone offsets, token ids in range, rows in range, no empty row, no
/// id twice, finite scores. Errors name file, data set and row. The texts are not read.
TokenStore read_token_store(const std::filesystem::path& path);

/// The texts of a store (kept for BM25 and for people), read on demand.
struct StoreTexts {
  std::vector<std::string> documents;
  std::vector<std::string> queries;
};
StoreTexts read_store_texts(const std::filesystem::path& path);

}  // namespace toller
