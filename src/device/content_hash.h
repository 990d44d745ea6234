// A hash of an array that any device computes to the same 64 bits in any order: the sum, modulo 2⁶⁴, of a
// hash of every element and its place. For finding copies that are not equal; no defence against intent.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace toller {

/// What the element at `place`, with these bits, adds. The mixing is splitmix64's (Steele, Lea & Flood,
/// OOPSLA 2014).
TOLLER_HOST_DEVICE inline std::uint64_t element_hash(std::uint64_t place, std::uint64_t bits) {
  std::uint64_t z = bits + (place + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

}  // namespace toller
