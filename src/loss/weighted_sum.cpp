// L = Σ_t w_t L_t. Every loss overwrites its gradients: each is computed into memory of its own and then
// added.
#include <cmath>
#include <utility>

#include "device/score_ops.h"
#include "error.h"
#include "loss/loss.h"

namespace toller {
namespace {

template <class T>
class WeightedSum final : public Loss<T> {
 public:
  using Real = RealOf<T>;

  WeightedSum(Ops<T>& ops, ScoreOps<T>& score_ops, std::vector<WeightedLoss<T>> terms)
      : ops_(ops), score_ops_(score_ops), terms_(std::move(terms)), arena_(ops) {
    if (terms_.empty()) fail_usage("a weighted sum of losses needs at least one of them");
    for (const WeightedLoss<T>& term : terms_) {
      if (!std::isfinite(term.weight))
        fail_usage("the weight of a loss is {}, no finite number", term.weight);
    }
  }

  void compute(const LossBatch<T>& batch, const Real* log_temperature, TensorCommunicator& communicator,
               const LossGradient<T>& gradient) override;
  void take_memory(const LossSize& size, Arena& arena) const override;

 private:
  Ops<T>& ops_;
  ScoreOps<T>& score_ops_;
  std::vector<WeightedLoss<T>> terms_;
  Arena arena_;
};

template <class T>
LossGradient<T> take_gradient(std::int64_t query_values, std::int64_t document_values, Arena& arena) {
  return {.query = arena.take<RealOf<T>>(query_values),
          .document = arena.take<RealOf<T>>(document_values),
          .log_temperature = arena.take<double>(1),
          .value = arena.take<double>(1)};
}

template <class T>
void WeightedSum<T>::compute(const LossBatch<T>& batch, const Real* log_temperature,
                             TensorCommunicator& communicator, const LossGradient<T>& gradient) {
  const std::int64_t query_values = batch.queries * batch.dimension;
  const std::int64_t document_values = batch.candidates * batch.dimension;
  arena_.reset();
  const LossGradient<T> part = take_gradient<T>(query_values, document_values, arena_);
  ops_.zero(gradient.query, query_values);
  ops_.zero(gradient.document, document_values);
  ops_.zero(gradient.log_temperature, 1);
  ops_.zero(gradient.value, 1);
  for (const WeightedLoss<T>& term : terms_) {
    term.loss->compute(batch, log_temperature, communicator, part);
    score_ops_.add_scaled(query_values, term.weight, part.query, gradient.query);
    score_ops_.add_scaled(document_values, term.weight, part.document, gradient.document);
    score_ops_.add_scaled_number(term.weight, part.log_temperature, gradient.log_temperature);
    score_ops_.add_scaled_number(term.weight, part.value, gradient.value);
  }
}

template <class T>
void WeightedSum<T>::take_memory(const LossSize& size, Arena& arena) const {
  take_gradient<T>(size.queries * size.dimension, size.candidates * size.dimension, arena);
  for (const WeightedLoss<T>& term : terms_) term.loss->take_memory(size, arena);
}

}  // namespace

template <class T>
std::unique_ptr<Loss<T>> make_weighted_sum(Ops<T>& ops, ScoreOps<T>& score_ops,
                                           std::vector<WeightedLoss<T>> terms) {
  return std::make_unique<WeightedSum<T>>(ops, score_ops, std::move(terms));
}

#define TOLLER_INSTANTIATE(T) \
  template std::unique_ptr<Loss<T>> make_weighted_sum<T>(Ops<T>&, ScoreOps<T>&, std::vector<WeightedLoss<T>>);
TOLLER_INSTANTIATE(BFloat16)
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
