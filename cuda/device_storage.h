// The same bits under two names: BFloat16 of the host's interfaces is the kernels' bfloat16.
#pragma once

#include "cuda/bfloat16.cuh"
#include "element.h"

namespace toller {

/// The kernels' name of a storage type.
template <class T>
struct DeviceStorage {
  using Type = T;
};
template <>
struct DeviceStorage<BFloat16> {
  using Type = bfloat16;
};

template <class T>
typename DeviceStorage<T>::Type* on_device(T* x) {
  return reinterpret_cast<typename DeviceStorage<T>::Type*>(x);
}
template <class T>
const typename DeviceStorage<T>::Type* on_device(const T* x) {
  return reinterpret_cast<const typename DeviceStorage<T>::Type*>(x);
}

}  // namespace toller
