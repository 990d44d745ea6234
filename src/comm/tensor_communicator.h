// The collectives of a training step, on memory of the device that computes it. They take their place among
// the operations queued on the device: they see what was queued before, and what is queued later sees their
// result; the host need not wait. Every method is collective: all ranks call it in the same order with the
// same sizes and types. Failures throw Error naming rank and operation.
//
// Implementations: over a Communicator, for memory of the host (host_tensor_communicator.h); for CUDA, NCCL
// and copies through the host (cuda/).
#pragma once

#include <concepts>
#include <cstdint>
#include <span>

#include "element.h"

namespace toller {

template <class T>
concept RealElement = std::same_as<T, float> || std::same_as<T, double>;
template <class T>
concept StorageElement = RealElement<T> || std::same_as<T, BFloat16>;

class TensorCommunicator {
 public:
  virtual ~TensorCommunicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Concatenation over ranks, in rank order: counts[r] elements come from rank r (0 is fine). float, double
  /// or BFloat16. `local` may be this rank's part of `all`, then on every rank.
  template <StorageElement T>
  void all_gather(const T* local, std::span<const std::int64_t> counts, T* all) {
    gather(local, counts, all, kElement<T>);
  }

  /// The adjoint of all_gather: sums `all` [Σ counts] over ranks, rank r gets its counts[r] elements. float
  /// or double. `all` may be changed; `local` may be this rank's part of it, and else lies outside. The same
  /// bits in every run with the same number of ranks (NCCL: on the same machines).
  template <RealElement T>
  void reduce_scatter_sum(T* all, std::span<const std::int64_t> counts, T* local) {
    scatter_sum(all, counts, local, kElement<T>);
  }

  /// Sum and maximum over ranks, in place; the same bits on every rank. float or double. A maximum is exact;
  /// it is NaN where any rank has NaN, but for NCCL, which leaves NaNs out.
  template <RealElement T>
  void all_reduce_sum(T* data, std::int64_t n) {
    reduce(data, n, kElement<T>, false);
  }
  template <RealElement T>
  void all_reduce_max(T* data, std::int64_t n) {
    reduce(data, n, kElement<T>, true);
  }

  /// A sum over ranks, in place, that may go on beside the operations queued after it; they must not touch
  /// `data` before finish_sums().
  template <RealElement T>
  void start_all_reduce_sum(T* data, std::int64_t n) {
    start_sum(data, n, kElement<T>);
  }
  /// reduce_scatter_sum() that may go on likewise; nothing may touch `all` or `local` before finish_sums().
  template <RealElement T>
  void start_reduce_scatter_sum(T* all, std::span<const std::int64_t> counts, T* local) {
    start_scatter_sum(all, counts, local, kElement<T>);
  }
  /// What is queued from here on sees the results of all sums that were started. Not collective.
  virtual void finish_sums() = 0;

 private:
  virtual void gather(const void* local, std::span<const std::int64_t> counts, void* all,
                      Element element) = 0;
  virtual void scatter_sum(void* all, std::span<const std::int64_t> counts, void* local, Element element) = 0;
  virtual void reduce(void* data, std::int64_t n, Element element, bool maximum) = 0;
  virtual void start_sum(void* data, std::int64_t n, Element element) = 0;
  virtual void start_scatter_sum(void* all, std::span<const std::int64_t> counts, void* local,
                                 Element element) = 0;
};

}  // namespace toller
