// What ranks say to each other: buffers and nothing else. Implementations: MPI (mpi_communicator.h) and, for
// one process, SelfCommunicator. Every method is collective: all ranks call it in the same order with the
// same T.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace toller {

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Sum over ranks, in place. The same bits on every rank, and in every run with the same number of ranks.
  virtual void all_reduce_sum(std::span<float> data) = 0;
  virtual void all_reduce_sum(std::span<double> data) = 0;
  virtual void all_reduce_max(std::span<std::int64_t> data) = 0;

  /// Concatenation over ranks, in rank order. counts[r] elements come from rank r (0 is fine);
  /// `local`.size() == counts[rank()], `all`.size() == Σ counts. `local` may be this rank's block of
  /// `all`, then on every rank. 16-bit words are for element types that a host does not calculate with.
  virtual void all_gather(std::span<const float> local, std::span<const std::int64_t> counts,
                          std::span<float> all) = 0;
  virtual void all_gather(std::span<const double> local, std::span<const std::int64_t> counts,
                          std::span<double> all) = 0;
  virtual void all_gather(std::span<const std::uint16_t> local, std::span<const std::int64_t> counts,
                          std::span<std::uint16_t> all) = 0;

  /// The adjoint of all_gather: sums `all` over ranks, rank r keeps its counts[r] elements. `local` may be
  /// this rank's block of `all`.
  virtual void reduce_scatter_sum(std::span<const float> all, std::span<const std::int64_t> counts,
                                  std::span<float> local) = 0;
  virtual void reduce_scatter_sum(std::span<const double> all, std::span<const std::int64_t> counts,
                                  std::span<double> local) = 0;

  virtual void broadcast(std::span<std::uint8_t> data, int root) = 0;
  virtual void barrier() = 0;
};

/// One process alone: copies.
class SelfCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_reduce_sum(std::span<float>) override {}
  void all_reduce_sum(std::span<double>) override {}
  void all_reduce_max(std::span<std::int64_t>) override {}
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
  void broadcast(std::span<std::uint8_t>, int) override {}
  void barrier() override {}
};

}  // namespace toller
