// The text normaliser of sentencepiece models as the `tokenizers` library has it (Precompiled), bit for bit,
// which is not what sentencepiece itself does: it looks up grapheme clusters of up to five bytes, of which
// the shortest beginning that has a replacement replaces them all, and characters otherwise.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace toller {

class PrecompiledNormalizer {
 public:
  /// `charsmap`: base64 of the field precompiled_charsmap; a trie as darts-clone lays it out, and texts that
  /// end with NUL. Error, beginning with `origin`, if it is damaged.
  PrecompiledNormalizer(const std::string& charsmap, const std::string& origin);
  PrecompiledNormalizer(const PrecompiledNormalizer&) = delete;
  PrecompiledNormalizer& operator=(const PrecompiledNormalizer&) = delete;

  /// `text` must be well-formed UTF-8. Thread-safe.
  std::string normalize(std::string_view text) const;

 private:
  std::optional<std::string_view> find(std::string_view part) const;
  void append_cluster(std::string_view cluster, std::string& to) const;

  std::vector<std::uint32_t> trie_;
  std::string replacements_;
  std::array<std::optional<std::string_view>, 128> of_ascii_;  ///< lie in replacements_
};

}  // namespace toller
