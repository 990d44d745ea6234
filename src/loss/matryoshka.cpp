// L = Σ_k inner(cut(Q, d_k), cut(D, d_k)), where cut(x, d) = x_{1…d}, or x_{1…d} / ‖x_{1…d}‖. With u the unit
// vector and g the inner loss's gradient by it, ∂L/∂x_{1…d} += (g − u ⟨u, g⟩) / ‖x_{1…d}‖.
#include <algorithm>
#include <functional>
#include <utility>

#include "device/score_ops.h"
#include "error.h"
#include "loss/loss.h"

namespace toller {
namespace {

/// Memory of one batch on the device, for the largest dimension.
template <class T>
struct CutBatch {
  using Real = RealOf<T>;
  T *query, *document;
  Real *query_norm, *document_norm;
  LossGradient<T> gradient;  ///< the inner loss's
};

template <class T>
class Matryoshka final : public Loss<T> {
 public:
  using Real = RealOf<T>;

  Matryoshka(Ops<T>& ops, ScoreOps<T>& score_ops, std::unique_ptr<Loss<T>> inner, MatryoshkaOptions options)
      : ops_(ops),
        score_ops_(score_ops),
        inner_(std::move(inner)),
        options_(std::move(options)),
        arena_(ops) {
    const std::vector<std::int64_t>& dimensions = options_.dimensions;
    if (dimensions.empty()) fail_usage("a matryoshka loss needs at least one dimension");
    if (!std::ranges::is_sorted(dimensions, std::ranges::greater_equal{}) ||
        std::ranges::adjacent_find(dimensions) != dimensions.end() || dimensions.back() < 1) {
      fail_usage(
          "the dimensions {} of a matryoshka loss do not fall from one to the next, down to at least 1",
          fmt::join(dimensions, ", "));
    }
  }

  void compute(const LossBatch<T>& batch, const Real* log_temperature, TensorCommunicator& communicator,
               const LossGradient<T>& gradient) override;
  void take_memory(const LossSize& size, Arena& arena) const override;

 private:
  using Batch = LossBatch<T>;

  CutBatch<T> take_cut(std::int64_t queries, std::int64_t candidates, Arena& arena) const;
  void add_dimension(std::int64_t kept, const Batch& batch, const CutBatch<T>& cut,
                     const Real* log_temperature, TensorCommunicator& communicator,
                     const LossGradient<T>& gradient);

  Ops<T>& ops_;
  ScoreOps<T>& score_ops_;
  std::unique_ptr<Loss<T>> inner_;
  MatryoshkaOptions options_;
  Arena arena_;
};

template <class T>
CutBatch<T> Matryoshka<T>::take_cut(std::int64_t queries, std::int64_t candidates, Arena& arena) const {
  const std::int64_t largest = options_.dimensions.front();
  CutBatch<T> cut{};
  cut.query = arena.take<T>(queries * largest);
  cut.document = arena.take<T>(candidates * largest);
  if (options_.normalize) {
    cut.query_norm = arena.take<Real>(queries);
    cut.document_norm = arena.take<Real>(candidates);
  }
  cut.gradient = {.query = arena.take<Real>(queries * largest),
                  .document = arena.take<Real>(candidates * largest),
                  .log_temperature = arena.take<double>(1),
                  .value = arena.take<double>(1)};
  return cut;
}

template <class T>
void Matryoshka<T>::add_dimension(std::int64_t kept, const Batch& batch, const CutBatch<T>& cut,
                                  const Real* log_temperature, TensorCommunicator& communicator,
                                  const LossGradient<T>& gradient) {
  const std::int64_t full = batch.dimension;
  score_ops_.cut_rows(batch.queries, full, kept, batch.query, cut.query_norm, cut.query);
  score_ops_.cut_rows(batch.candidates, full, kept, batch.document, cut.document_norm, cut.document);
  Batch inner = batch;
  inner.dimension = kept;
  inner.query = cut.query;
  inner.document = cut.document;
  inner_->compute(inner, log_temperature, communicator, cut.gradient);
  score_ops_.add_cut_gradient(batch.queries, full, kept, batch.query, cut.query_norm, cut.gradient.query,
                              gradient.query);
  score_ops_.add_cut_gradient(batch.candidates, full, kept, batch.document, cut.document_norm,
                              cut.gradient.document, gradient.document);
  score_ops_.add_scaled_number(1, cut.gradient.log_temperature, gradient.log_temperature);
  score_ops_.add_scaled_number(1, cut.gradient.value, gradient.value);
}

template <class T>
void Matryoshka<T>::compute(const Batch& batch, const Real* log_temperature, TensorCommunicator& communicator,
                            const LossGradient<T>& gradient) {
  if (options_.dimensions.front() > batch.dimension) {
    fail("matryoshka: the largest dimension is {}, embeddings have {}", options_.dimensions.front(),
         batch.dimension);
  }
  arena_.reset();
  const CutBatch<T> cut = take_cut(batch.queries, batch.candidates, arena_);
  ops_.zero(gradient.query, batch.queries * batch.dimension);
  ops_.zero(gradient.document, batch.candidates * batch.dimension);
  ops_.zero(gradient.log_temperature, 1);
  ops_.zero(gradient.value, 1);
  for (const std::int64_t kept : options_.dimensions) {
    add_dimension(kept, batch, cut, log_temperature, communicator, gradient);
  }
}

template <class T>
void Matryoshka<T>::take_memory(const LossSize& size, Arena& arena) const {
  take_cut(size.queries, size.candidates, arena);
  LossSize inner = size;
  inner.dimension = options_.dimensions.front();
  inner_->take_memory(inner, arena);
}

}  // namespace

template <class T>
std::unique_ptr<Loss<T>> make_matryoshka(Ops<T>& ops, ScoreOps<T>& score_ops, std::unique_ptr<Loss<T>> inner,
                                         MatryoshkaOptions options) {
  return std::make_unique<Matryoshka<T>>(ops, score_ops, std::move(inner), std::move(options));
}

#define TOLLER_INSTANTIATE(T)                                                                           \
  template std::unique_ptr<Loss<T>> make_matryoshka<T>(Ops<T>&, ScoreOps<T>&, std::unique_ptr<Loss<T>>, \
                                                       MatryoshkaOptions);
TOLLER_INSTANTIATE(BFloat16)
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
