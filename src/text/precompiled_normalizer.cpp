#include "text/precompiled_normalizer.h"

#include <unicode/utf8.h>

#include <algorithm>
#include <boost/archive/iterators/binary_from_base64.hpp>
#include <boost/archive/iterators/transform_width.hpp>

#include "error.h"
#include "text/grapheme_breaks.h"
#include "text/unicode.h"

namespace toller {
namespace {

/// Longer clusters are looked up by their characters alone.
constexpr std::size_t kMostClusterBytes = 5;

std::string decode_base64(std::string_view text, const std::string& origin) {
  namespace iterators = boost::archive::iterators;
  using Bytes = iterators::transform_width<iterators::binary_from_base64<const char*>, 8, 6>;
  if (text.size() % 4 != 0) fail("{}: precompiled_charsmap is not base64", origin);
  std::size_t padding = 0;
  while (padding < 2 && text.ends_with('=')) {
    text.remove_suffix(1);
    ++padding;
  }
  const std::size_t size = text.size() * 3 / 4;
  std::string bytes;
  try {
    Bytes next(text.data());
    for (std::size_t i = 0; i < size; ++i, ++next) bytes.push_back(static_cast<char>(*next));
  } catch (const iterators::dataflow_exception&) {
    fail("{}: precompiled_charsmap is not base64", origin);
  }
  return bytes;
}

std::uint32_t read_uint32(std::string_view bytes) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

// A unit of a darts-clone trie: the label that leads to it and, relative to it, its children; or a value.
bool has_value(std::uint32_t unit) {
  return (unit >> 8 & 1) != 0;
}
std::uint32_t value_of(std::uint32_t unit) {
  return unit & 0x7FFFFFFF;
}
std::uint32_t label_of(std::uint32_t unit) {
  return unit & 0x800000FF;
}
std::size_t children_of(std::uint32_t unit) {
  return std::size_t{unit >> 10} << ((unit & 0x200) >> 6);
}

}  // namespace

PrecompiledNormalizer::PrecompiledNormalizer(const std::string& charsmap, const std::string& origin) {
  const std::string bytes = decode_base64(charsmap, origin);
  const std::size_t size = bytes.size() < 4 ? 0 : read_uint32(bytes);
  if (size == 0 || size % 4 != 0 || size > bytes.size() - 4) {
    fail("{}: precompiled_charsmap is damaged: its trie does not fit", origin);
  }
  for (std::size_t i = 4; i < 4 + size; i += 4)
    trie_.push_back(read_uint32(std::string_view(bytes).substr(i)));
  replacements_ = bytes.substr(4 + size);
  if (find_invalid_utf8(replacements_) >= 0) {
    fail("{}: precompiled_charsmap is damaged: its texts are not UTF-8", origin);
  }
  for (std::size_t c = 0; c < of_ascii_.size(); ++c) {
    const auto character = static_cast<char>(c);
    of_ascii_[c] = find({&character, 1});
  }
}

/// The replacement of the shortest beginning that has one.
std::optional<std::string_view> PrecompiledNormalizer::find(std::string_view part) const {
  std::size_t node = children_of(trie_.front());
  for (const char byte : part) {
    const auto label = static_cast<unsigned char>(byte);
    if (label == 0) break;
    node ^= label;
    if (node >= trie_.size() || label_of(trie_[node]) != label) break;
    const std::uint32_t unit = trie_[node];
    node ^= children_of(unit);
    if (!has_value(unit)) continue;
    if (node >= trie_.size()) break;
    const std::size_t start = value_of(trie_[node]);
    if (start > replacements_.size()) break;
    if (start < replacements_.size() && U8_IS_TRAIL(replacements_[start])) break;  // of a damaged one
    return std::string_view(replacements_).substr(start, replacements_.find('\0', start) - start);
  }
  return std::nullopt;
}

void PrecompiledNormalizer::append_cluster(std::string_view cluster, std::string& to) const {
  if (cluster.size() == 1) {
    to += of_ascii_[static_cast<unsigned char>(cluster.front())].value_or(cluster);
    return;
  }
  if (cluster.size() <= kMostClusterBytes) {
    if (const auto replacement = find(cluster)) {
      to += *replacement;
      return;
    }
  }
  for (std::size_t position = 0; position < cluster.size();) {
    const std::size_t start = position;
    next_character(cluster, position);
    const std::string_view character = cluster.substr(start, position - start);
    to += find(character).value_or(character);
  }
}

std::string PrecompiledNormalizer::normalize(std::string_view text) const {
  std::string normalized;
  normalized.reserve(text.size() + text.size() / 4);
  GraphemeBreaks breaks;
  std::size_t cluster = 0;
  for (std::size_t position = 0; position < text.size();) {
    const std::size_t start = position;
    if (!breaks.breaks_before(next_character(text, position)) || start == cluster) continue;
    append_cluster(text.substr(cluster, start - cluster), normalized);
    cluster = start;
  }
  if (cluster < text.size()) append_cluster(text.substr(cluster), normalized);
  return normalized;
}

}  // namespace toller
