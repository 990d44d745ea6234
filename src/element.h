// Element types. A backend stores parameters, activations and gathered embeddings as T; statistics,
// embeddings as the encoder makes them, losses and gradients of parameters are RealOf<T>.
#pragma once

#include <cstdint>

namespace toller {

/// bfloat16: the upper half of a float. A storage type; only CUDA kernels calculate with it.
struct BFloat16 {
  std::uint16_t bits = 0;
};

template <class T>
struct RealOfStorage {
  using Type = T;
};
template <>
struct RealOfStorage<BFloat16> {
  using Type = float;
};
template <class T>
using RealOf = typename RealOfStorage<T>::Type;

/// An element type as a value, for what treats all of them alike.
enum class Element { kFloat, kDouble, kBFloat16 };

template <class T>
inline constexpr Element kElement = Element::kFloat;
template <>
inline constexpr Element kElement<double> = Element::kDouble;
template <>
inline constexpr Element kElement<BFloat16> = Element::kBFloat16;

constexpr std::int64_t element_size(Element element) {
  return element == Element::kDouble ? 8 : element == Element::kFloat ? 4 : 2;
}

}  // namespace toller
