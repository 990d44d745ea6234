// Losses on the GPU backend.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "cuda/cuda_backends.h"
#include "cuda/device_array.h"
#include "loss/loss_problem.h"

namespace toller {

/// The problem in numbers that a GPU with embeddings of T reads as they are.
template <class T>
LossProblem rounded_problem(LossProblem problem) {
  using Storage = std::conditional_t<std::is_same_v<T, BFloat16>, bfloat16, float>;
  problem.query = rounded<Storage>(problem.query);
  problem.document = rounded<Storage>(problem.document);
  problem.log_temperature = static_cast<double>(static_cast<float>(problem.log_temperature));
  return problem;
}

/// Rank r has counts[r] queries and a GPU backend of its own; collectives go by way of the host.
template <class T, class MakeLoss>
LossResult gpu_loss_of(const LossProblem& problem, const MakeLoss& make_loss,
                       const std::vector<std::int64_t>& counts) {
  const auto gpus = make_cuda_backends([](const std::string& message) { FAIL() << message; });
  return distributed_loss_of<T>(problem, make_loss, counts, [&](Communicator& communicator) {
    if constexpr (std::is_same_v<T, float>) {
      return gpus->make_float({.communicator = "mpi"}, communicator);
    } else {
      return gpus->make_bfloat16({.communicator = "mpi"}, communicator);
    }
  });
}

/// A loss whose compute() must only queue work.
template <class T>
class QueuedLoss final : public Loss<T> {
 public:
  explicit QueuedLoss(std::unique_ptr<Loss<T>> loss) : loss_(std::move(loss)) {}

  void compute(const LossBatch<T>& batch, const RealOf<T>* log_temperature, TensorCommunicator& communicator,
               const LossGradient<T>& gradient) override {
    const auto before = host_waits();
    loss_->compute(batch, log_temperature, communicator, gradient);
    EXPECT_EQ(host_waits(), before) << "the host waited for the device";
  }
  void take_memory(const LossSize& size, Arena& arena) const override { loss_->take_memory(size, arena); }

 private:
  std::unique_ptr<Loss<T>> loss_;
};

/// As gpu_loss_of() on one rank, where the host must not wait for the device while the loss is computed.
template <class T, class MakeLoss>
LossResult queued_gpu_loss_of(const LossProblem& problem, const MakeLoss& make_loss) {
  const auto make_queued = [&](Ops<T>& ops, ScoreOps<T>& score_ops) {
    return std::make_unique<QueuedLoss<T>>(make_loss(ops, score_ops));
  };
  return gpu_loss_of<T>(problem, make_queued, {problem.queries});
}

}  // namespace toller
