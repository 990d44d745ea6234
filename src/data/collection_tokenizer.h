// The texts of a collection made into tokens, block by block, on several threads.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/token_block_file.h"
#include "data/token_store.h"

namespace toller {

class CollectionTokenizer {
 public:
  /// `store`: the file beside which tokens are kept; see write_token_store. All arguments must outlive this.
  CollectionTokenizer(const Collection& collection, const Tokenizer& tokenizer, const TextForm& form,
                      int threads, const std::filesystem::path& store, const StoreWatch& watch);

  TokenTable tokenize_documents() { return tokenize(documents_); }
  TokenTable tokenize_queries() { return tokenize(queries_); }
  const TokenizeReport& report() const { return report_; }
  /// The store is there: nothing need be kept.
  void forget_blocks();

 private:
  struct Side {
    const std::vector<TextRecord>& records;
    const SideForm& form;
    std::vector<Fingerprint> keys;  ///< of its blocks; empty if no tokens are kept
  };

  void make_keys(Side& side, const char* name) const;
  void open_blocks(const TextForm& form, const std::filesystem::path& store);
  TokenTable tokenize(const Side& side);
  TokenBlock block(const Side& side, std::size_t number);
  TokenBlock encode_block(const Side& side, std::int64_t first, std::int64_t last);
  std::vector<std::int32_t> encode(const SideForm& form, const std::string& text, std::int64_t& cut) const;

  const Tokenizer& tokenizer_;
  int threads_;
  const StoreWatch& watch_;
  Side documents_, queries_;
  TokenizeReport report_;
  TokenizeProgress progress_;
  std::optional<TokenBlockFile> blocks_;
};

}  // namespace toller
