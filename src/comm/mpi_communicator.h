// The communicator over MPI ranks.
#pragma once

#include <mpi.h>

#include <vector>

#include "comm/communicator.h"

namespace toller {

/// MPI leaves it to the library in which order a reduction adds, and libraries choose by message size,
/// machine layout and even arrival. Sums here add in an order that depends on the number of ranks and the
/// lengths alone: short ones in rank order on every rank, long ones round a ring (Patarasuk & Yuan 2009,
/// "Bandwidth optimal all-reduce algorithms for clusters of workstations"), whose traffic stays between
/// neighbouring ranks. MPI failures throw Error naming rank and operation. Scratch memory is bounded by the
/// piece size (a few MiB), whatever the length of a sum.
class MpiCommunicator final : public Communicator {
 public:
  /// Works on a duplicate of `parent`; MPI must be initialised for the whole life of this object.
  explicit MpiCommunicator(MPI_Comm parent);
  ~MpiCommunicator() override;
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void all_reduce_sum(std::span<float> data) override;
  void all_reduce_sum(std::span<double> data) override;
  void all_reduce_max(std::span<std::int64_t> data) override;
  void all_gather(std::span<const float> local, std::span<const std::int64_t> counts,
                  std::span<float> all) override;
  void all_gather(std::span<const double> local, std::span<const std::int64_t> counts,
                  std::span<double> all) override;
  void all_gather(std::span<const std::uint16_t> local, std::span<const std::int64_t> counts,
                  std::span<std::uint16_t> all) override;
  void reduce_scatter_sum(std::span<const float> all, std::span<const std::int64_t> counts,
                          std::span<float> local) override;
  void reduce_scatter_sum(std::span<const double> all, std::span<const std::int64_t> counts,
                          std::span<double> local) override;
  void broadcast(std::span<std::uint8_t> data, int root) override;
  void barrier() override;

 private:
  template <class T>
  void sum(std::span<T> data);
  template <class T>
  void sum_short(std::span<T> data);
  template <class T>
  void gather(std::span<const T> local, std::span<const std::int64_t> counts, std::span<T> all);
  template <class T>
  void scatter_sum(std::span<const T> all, std::span<const std::int64_t> counts, std::span<T> local);
  template <class T>
  void ring_step(std::span<const T> sent, std::span<T> received, const char* operation);
  /// Throws Error if an MPI call did not succeed.
  void check(int code, const char* operation) const;

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
};

}  // namespace toller
