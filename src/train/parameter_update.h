// From a rank's gradient to the new parameters on all ranks: sums over ranks, clipping, AdamW. Every rank
// updates all parameters for itself, or (ZeRO stage 1: Rajbhandari et al. 2020, arXiv:1910.02054) its own
// shard, with its share of the moments alone in memory, and gathers the others'.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "comm/tensor_communicator.h"
#include "model/parameter_shards.h"
#include "optim/adamw.h"
#include "train/gradient_sums.h"

namespace toller {

template <class T>
class ParameterUpdate {
 public:
  using Real = RealOf<T>;

  /// `shards`: of the ranks of `communicator`. `sharded`: ZeRO stage 1; else shards only say who reads what
  /// in read_own(). The arguments must outlive this object.
  ParameterUpdate(const ParameterTable& table, const ParameterShards& shards, bool sharded,
                  const AdamWOptions& options, Ops<T>& ops, TensorCommunicator& communicator);

  /// `parameters`, the same on all ranks, with the moments of earlier steps, or empty ones before the first;
  /// all flat, in host memory.
  void start(std::span<const Real> parameters, std::span<const Real> m, std::span<const Real> v);

  /// What the backward pass tells of the gradient, before update().
  GradientSums<T>& sums() { return sums_; }

  /// log τ, the last parameter, is kept within these after every update.
  void clamp_log_temperature(double low, double high);

  /// Queues the update of flat `parameters`, and of `copy` where T is not Real, with the summed gradient.
  /// `gradients` is the flat buffer that sums() was given. Collective.
  void update(std::int64_t step, double learning_rate, const Real* gradients, Real* parameters, T* copy);

  /// Square of the global gradient norm of the last update, before clipping [1]; memory of the device.
  const double* squared_norm() { return adamw_.squared_norm(); }

  /// Of update `step`, which is one of the last two and whose norm is not finite: the tensors whose gradient
  /// is not. Waits for all that is queued. Collective over `communicator`, the same on every rank.
  std::vector<std::size_t> tensors_not_finite(std::int64_t step, Communicator& communicator) const;

  /// This rank's shard of the parameters (from `parameters`, flat on the device) and of both moments, to host
  /// memory [shards.elements(rank)] each. Waits for all that is queued.
  void read_own(const Real* parameters, std::span<Real> own, std::span<Real> m, std::span<Real> v);

 private:
  void update_shard(std::int64_t step, double learning_rate, Real* parameters, T* copy);
  void read_pieces(const Real* flat, std::span<Real> own) const;
  /// The shard's elements of a flat buffer of the host.
  std::vector<Real> own_of(std::span<const Real> flat) const;

  const ParameterTable& table_;
  const ParameterShards& shards_;
  bool sharded_;
  Ops<T>& ops_;
  TensorCommunicator& communicator_;
  AdamW<T> adamw_;
  DeviceBuffer<Real> own_parameters_, own_gradient_;  ///< of the shard; none where not sharded
  GradientSums<T> sums_;
  bool clamps_ = false;
  double low_ = 0, high_ = 0;
};

}  // namespace toller
