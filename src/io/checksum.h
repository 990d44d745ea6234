// The checksum of all files: XXH3, 64 bits, of bytes that come in pieces; and fingerprints of 128 bits, by
// which contents are told apart.
#pragma once

#include <xxhash.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace toller {

class Checksum {
 public:
  Checksum() { reset(); }

  void reset() { XXH3_64bits_reset(state_.get()); }
  void update(std::span<const std::byte> bytes) {
    XXH3_64bits_update(state_.get(), bytes.data(), bytes.size());
  }
  /// Of the bytes since the last reset().
  std::uint64_t value() const { return XXH3_64bits_digest(state_.get()); }

 private:
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state_{XXH3_createState(), XXH3_freeState};
};

inline std::uint64_t checksum_of(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

/// Equal for equal contents, and, as far as anybody who does not mean to deceive is concerned, for no others.
struct Fingerprint {
  std::uint64_t low = 0, high = 0;
  auto operator<=>(const Fingerprint&) const = default;
};

/// Of parts in their order, each with its length.
class Fingerprinter {
 public:
  Fingerprinter() { XXH3_128bits_reset(state_.get()); }

  void add(std::string_view part) {
    const std::uint64_t size = part.size();
    XXH3_128bits_update(state_.get(), &size, sizeof(size));
    XXH3_128bits_update(state_.get(), part.data(), part.size());
  }
  Fingerprint value() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
    return {hash.low64, hash.high64};
  }

 private:
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state_{XXH3_createState(), XXH3_freeState};
};

}  // namespace toller
