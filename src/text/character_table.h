// A property of characters, calculated once for those that texts are made of.
#pragma once

#include <array>
#include <memory>

namespace toller {

/// find(character), from a table for the Basic Multilingual Plane.
template <auto find>
auto look_up(char32_t character) {
  using Table = std::array<decltype(find(character)), 0x10000>;
  static const auto basic_plane = [] {
    auto table = std::make_unique<Table>();
    for (char32_t c = 0; c < table->size(); ++c) (*table)[c] = find(c);
    return table;
  }();
  return character < basic_plane->size() ? (*basic_plane)[character] : find(character);
}

}  // namespace toller
