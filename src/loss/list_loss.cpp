// The losses of each query's own documents. With ℓ_i the value of query i's list and L = 1/N Σ_i ℓ_i over the
// N queries of all ranks that have a pair to compare,
//   dQ_i = 1/N Σ_k ∂ℓ_i/∂s_k d_k,   dD_k = 1/N ∂ℓ_i/∂s_k q_i.
// Lists come from the host without the documents that are left out and without the queries that do not count,
// so that the device sees only what is computed. Over ranks go two numbers: Σ ℓ_i and N.
#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "device/lists/list_value.h"
#include "device/score_ops.h"
#include "error.h"
#include "loss/loss.h"

namespace toller {
namespace {

/// A batch's lists in memory of the host, as ScoreLists has them.
struct HostLists {
  std::vector<std::int64_t> offsets;
  std::vector<std::int32_t> query, column, grade;
  std::vector<float> teacher;
  std::int64_t longest = 0;
};

/// Memory of one batch on the device.
struct ListWorkspace {
  double *score, *gradient;     ///< [documents]
  double* totals;               ///< [3]: Σ values, N, Σ derivatives by log τ (of this rank)
  double* list_totals;          ///< [2] as ScoreOps::list_losses gives them
  double* inverse_temperature;  ///< [1]
};

bool wants_teacher(ListLossKind kind) {
  return kind == ListLossKind::kKl || kind == ListLossKind::kMarginMse;
}

/// Does a list with these grades have a pair to compare?
bool has_pair(ListLossKind kind, std::span<const std::int32_t> grades) {
  if (grades.size() < 2) return false;
  if (kind == ListLossKind::kKl) return true;
  const auto [lowest, highest] = std::ranges::minmax(grades);
  const bool binary =
      kind == ListLossKind::kBpr || kind == ListLossKind::kReverseBpr || kind == ListLossKind::kHinge;
  return lowest < highest && (!binary || lowest == 0);
}

ListLossOptions checked(ListLossOptions options) {
  const bool bpr = options.kind == ListLossKind::kBpr || options.kind == ListLossKind::kReverseBpr;
  if (options.scale == 0) options.scale = bpr ? 1 : 5;
  const auto require_positive = [](const char* name, double x) {
    if (!(x > 0) || !std::isfinite(x)) fail_usage("{} is {}; it must be a positive number", name, x);
  };
  require_positive("the scale of a list loss", options.scale);
  require_positive("the teacher's temperature", options.teacher_temperature);
  if (!(options.margin >= 0) || !std::isfinite(options.margin)) {
    fail_usage("the margin of the hinge loss is {}; it must not be negative", options.margin);
  }
  if (options.samples < 2 || options.samples > 65536) {
    fail_usage("pg-rank is to draw {} rankings a query; it takes 2 to 65536", options.samples);
  }
  if (options.cutoff < 1) fail_usage("the cutoff of pg-rank is {}; it must be at least 1", options.cutoff);
  return options;
}

template <class T>
class ListLoss final : public Loss<T> {
 public:
  using Real = RealOf<T>;

  ListLoss(Ops<T>& ops, ScoreOps<T>& score_ops, const ListLossOptions& options)
      : ops_(ops), score_ops_(score_ops), options_(checked(options)), arena_(ops) {}

  void compute(const LossBatch<T>& batch, const Real* log_temperature, TensorCommunicator& communicator,
               const LossGradient<T>& gradient) override;
  void take_memory(const LossSize& size, Arena& arena) const override { take_workspace(size.own, arena); }

 private:
  using Batch = LossBatch<T>;

  void check(const Batch& batch) const;
  static ListWorkspace take_workspace(std::int64_t documents, Arena& arena);
  void make_lists(const Batch& batch);
  ScoreLists upload_lists();

  Ops<T>& ops_;
  ScoreOps<T>& score_ops_;
  ListLossOptions options_;
  Arena arena_;
  HostLists lists_;
  double count_ = 0;  ///< of this rank's lists
};

template <class T>
void ListLoss<T>::check(const Batch& batch) const {
  const std::span<const std::int64_t> offsets = batch.own_offsets;
  if (offsets.size() != static_cast<std::size_t>(batch.queries + 1) || offsets.front() < 0 ||
      offsets.back() > batch.candidates || !std::ranges::is_sorted(offsets)) {
    fail("list loss: the batch does not say which of its {} candidates each of {} queries brought",
         batch.candidates, batch.queries);
  }
  const auto documents = static_cast<std::size_t>(offsets.back() - offsets.front());
  if (batch.own_grade.size() != documents) {
    fail("list loss: {} grades for {} documents", batch.own_grade.size(), documents);
  }
  if (wants_teacher(options_.kind) && batch.own_teacher.size() != documents) {
    fail("list loss: {} scores of a teacher for {} documents; kl and margin-mse need them",
         batch.own_teacher.size(), documents);
  }
}

template <class T>
ListWorkspace ListLoss<T>::take_workspace(std::int64_t documents, Arena& arena) {
  ListWorkspace work{};
  work.score = arena.take<double>(documents);
  work.gradient = arena.take<double>(documents);
  work.totals = arena.take<double>(3);
  work.list_totals = arena.take<double>(2);
  work.inverse_temperature = arena.take<double>(1);
  return work;
}

/// Without the documents that are left out, and without the queries that have no pair.
template <class T>
void ListLoss<T>::make_lists(const Batch& batch) {
  lists_ = {};
  lists_.offsets.push_back(0);
  for (std::int64_t i = 0; i < batch.queries; ++i) {
    const std::size_t first = lists_.grade.size();
    for (std::int64_t column = batch.own_offsets[i]; column < batch.own_offsets[i + 1]; ++column) {
      const auto at = static_cast<std::size_t>(column - batch.own_offsets[0]);
      if (batch.own_grade[at] < 0) continue;
      lists_.column.push_back(static_cast<std::int32_t>(column));
      lists_.grade.push_back(batch.own_grade[at]);
      if (wants_teacher(options_.kind)) lists_.teacher.push_back(batch.own_teacher[at]);
    }
    if (has_pair(options_.kind, std::span(lists_.grade).subspan(first))) {
      lists_.query.push_back(static_cast<std::int32_t>(i));
      lists_.offsets.push_back(static_cast<std::int64_t>(lists_.grade.size()));
      lists_.longest = std::max(lists_.longest, lists_.offsets.back() - static_cast<std::int64_t>(first));
    } else {
      lists_.column.resize(first);
      lists_.grade.resize(first);
      if (wants_teacher(options_.kind)) lists_.teacher.resize(first);
    }
  }
}

template <class T>
ScoreLists ListLoss<T>::upload_lists() {
  return {.lists = static_cast<std::int64_t>(lists_.query.size()),
          .documents = static_cast<std::int64_t>(lists_.column.size()),
          .longest = lists_.longest,
          .offsets = ops_.template upload<std::int64_t>(lists_.offsets),
          .query = ops_.template upload<std::int32_t>(lists_.query),
          .column = ops_.template upload<std::int32_t>(lists_.column),
          .grade = ops_.template upload<std::int32_t>(lists_.grade),
          .teacher = wants_teacher(options_.kind) ? ops_.template upload<float>(lists_.teacher) : nullptr};
}

template <class T>
void ListLoss<T>::compute(const Batch& batch, const Real* log_temperature, TensorCommunicator& communicator,
                          const LossGradient<T>& gradient) {
  check(batch);
  make_lists(batch);
  arena_.reset();
  const ListWorkspace work = take_workspace(batch.own_offsets.back() - batch.own_offsets.front(), arena_);
  const ScoreLists lists = upload_lists();
  const ListLossSetup setup{
      .options = options_, .step = static_cast<std::uint32_t>(batch.step), .first_query = batch.first_query};
  score_ops_.invert_temperature(log_temperature, work.inverse_temperature);
  score_ops_.list_scores(lists, batch.dimension, batch.query, batch.document, work.score);
  score_ops_.list_losses(setup, lists, work.score, work.inverse_temperature, work.gradient, work.list_totals);
  count_ = static_cast<double>(lists.lists);
  ops_.copy(work.list_totals, 1, work.totals);
  ops_.copy(ops_.template upload<double>({&count_, 1}), 1, work.totals + 1);
  communicator.all_reduce_sum(work.totals, 2);
  const double* count = work.totals + 1;
  score_ops_.divide(work.totals, count, gradient.value);
  score_ops_.divide(work.list_totals + 1, count, gradient.log_temperature);
  ops_.zero(gradient.query, batch.queries * batch.dimension);
  ops_.zero(gradient.document, batch.candidates * batch.dimension);
  score_ops_.list_embedding_gradients(lists, batch.dimension, work.gradient, count, batch.query,
                                      batch.document, gradient.query, gradient.document);
}

}  // namespace

template <class T>
std::unique_ptr<Loss<T>> make_list_loss(Ops<T>& ops, ScoreOps<T>& score_ops, const ListLossOptions& options) {
  return std::make_unique<ListLoss<T>>(ops, score_ops, options);
}

#define TOLLER_INSTANTIATE(T) \
  template std::unique_ptr<Loss<T>> make_list_loss<T>(Ops<T>&, ScoreOps<T>&, const ListLossOptions&);
TOLLER_INSTANTIATE(BFloat16)
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
