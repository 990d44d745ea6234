// Tokens of blocks of texts, kept in a file beside a token store that is being made, so that an interrupted
// `toller prepare` need not tokenize all texts again. Little-endian:
//   header   "TOLLERTB", version uint64 = 1, settings (fingerprint, 16 bytes), XXH3 of these 32 bytes
//   blocks   key (fingerprint, 16 bytes), rows int64, tokens int64, cut int64, XXH3 of these 40 bytes,
//            lengths int32 [rows], tokens int32 [tokens], XXH3 of both
// A block is found by its key, the fingerprint of its texts, never by its place. Whatever is cut off or
// damaged is not there, with all that follows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <vector>

#include "io/checksum.h"
#include "io/raw_file.h"

namespace toller {

/// The tokens of some texts, one after the other.
struct TokenBlock {
  std::vector<std::int32_t> lengths;  ///< of each text, at least 1
  std::vector<std::int32_t> tokens;
  std::int64_t cut = 0;  ///< texts that were too long
};

class TokenBlockFile {
 public:
  /// Reads what blocks are in the file, if it is there. `settings`: of all but the texts that the tokens
  /// depend on. What other settings made is removed.
  TokenBlockFile(std::filesystem::path path, const Fingerprint& settings);

  /// Whether the file was there and had other settings, or could not be read as such a file.
  bool was_discarded() const { return discarded_; }
  /// Number of texts in the blocks that were there.
  std::int64_t texts() const { return texts_; }
  bool has(const Fingerprint& key) const { return places_.contains(key); }

  /// A block that is there. Error naming the file if it is damaged now.
  TokenBlock read(const Fingerprint& key);
  /// Adds a block; the file is made with the first one. A file that is left by a process that is killed holds
  /// the block. Error naming the file, which then keeps the blocks that it had, if it cannot be written.
  void append(const Fingerprint& key, const TokenBlock& block);
  /// Removes the file: the store has what was in it.
  void remove();

 private:
  void create();
  bool read_header();
  void find_blocks();
  std::optional<TokenBlock> load(std::uint64_t place, Fingerprint& key);
  bool read_all(std::span<std::byte> bytes, std::uint64_t place);
  void write(std::span<const std::byte> bytes);

  std::filesystem::path path_;
  Fingerprint settings_;
  std::optional<RawFile> file_;
  std::uint64_t end_ = 0;  ///< of the sound blocks
  std::uint64_t size_ = 0;
  std::int64_t texts_ = 0;
  bool discarded_ = false;
  std::map<Fingerprint, std::uint64_t> places_;
};

}  // namespace toller
