// Values out of JSON that anybody may have written. The library turns 3.7 into the integer 3, and a number
// that an integer cannot hold into any other.
#pragma once

#include <concepts>
#include <nlohmann/json.hpp>
#include <utility>

#include "error.h"

namespace toller {

template <class Value>
concept JsonInteger = std::integral<Value> && !std::same_as<Value, bool>;

/// Error that says what is wrong with it: another type, or a number that is no `Value`.
template <class Value>
Value json_value(const nlohmann::json& json) {
  if constexpr (JsonInteger<Value>) {
    const bool fits = json.is_number_unsigned()
                          ? std::in_range<Value>(json.get<std::uint64_t>())
                          : json.is_number_integer() && std::in_range<Value>(json.get<std::int64_t>());
    if (!fits)
      fail("{} is not an integer that fits",
           json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  try {
    return json.get<Value>();
  } catch (const nlohmann::json::exception& problem) {
    fail("{}", problem.what());
  }
}

}  // namespace toller
