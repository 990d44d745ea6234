#include "comm/exchange.h"

#include <cstring>
#include <numeric>

namespace toller {
namespace {

/// all_gather takes integers of 16 bits, and passes them on as they are.
constexpr std::size_t kParts = sizeof(std::uint64_t) / sizeof(std::uint16_t);

}  // namespace

std::vector<std::uint64_t> gather_words(std::span<const std::uint64_t> own,
                                        std::span<const std::int64_t> counts, Communicator& communicator) {
  std::vector<std::int64_t> part_counts;
  for (const std::int64_t count : counts) part_counts.push_back(count * static_cast<std::int64_t>(kParts));
  std::vector<std::uint16_t> own_parts(own.size() * kParts);
  std::memcpy(own_parts.data(), own.data(), own.size_bytes());
  const auto total = static_cast<std::size_t>(std::reduce(counts.begin(), counts.end()));
  std::vector<std::uint16_t> all_parts(total * kParts);
  communicator.all_gather(std::span<const std::uint16_t>(own_parts), part_counts, std::span(all_parts));
  std::vector<std::uint64_t> all(total);
  std::memcpy(all.data(), all_parts.data(), all.size() * sizeof(std::uint64_t));
  return all;
}

void broadcast_text(std::string& text, int root, Communicator& communicator) {
  auto size = static_cast<std::int64_t>(text.size());
  broadcast_values(std::span(&size, 1), root, communicator);
  text.resize(static_cast<std::size_t>(size));
  broadcast_values(std::span(text), root, communicator);
}

}  // namespace toller
