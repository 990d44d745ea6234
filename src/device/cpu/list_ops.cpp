#include "device/cpu/list_ops.h"

#include <algorithm>
#include <vector>

#include "device/cpu/cpu_team.h"
#include "device/cpu/inner_product.h"
#include "device/lists/list_value.h"

namespace toller {
namespace {

/// Pairs of documents, or elements of embeddings, from which on it is worth waking the other threads.
constexpr std::int64_t kParallelPairs = 1 << 11;
constexpr std::int64_t kParallelElements = 1 << 15;

/// The list's value; *slope: its derivative by log τ.
template <ListLossKind Kind>
double one_list(const ListLossSetup& setup, const ScoreLists& lists, std::int64_t i, const double* score,
                double inverse_temperature, std::vector<double>& room, double* gradient, double* slope) {
  const std::int64_t first = lists.offsets[i];
  const ScoreList list{.size = lists.offsets[i + 1] - first,
                       .score = score + first,
                       .grade = lists.grade + first,
                       .teacher = lists.teacher == nullptr ? nullptr : lists.teacher + first,
                       .gradient = gradient + first,
                       .work = make_list_work(room.data(), lists.longest),
                       .query = setup.first_query + lists.query[i]};
  const double value = list_value<Kind>(CpuTeam{}, list, inverse_temperature, setup);
  *slope = list_temperature_slope<Kind>(CpuTeam{}, list);
  return value;
}

}  // namespace

template <class T>
void cpu_list_scores(const ScoreLists& lists, std::int64_t dimension, const T* query, const T* document,
                     double* score) {
#pragma omp parallel for schedule(static) if (lists.documents * dimension >= kParallelElements)
  for (std::int64_t i = 0; i < lists.lists; ++i) {
    const T* q = query + lists.query[i] * dimension;
    for (std::int64_t k = lists.offsets[i]; k < lists.offsets[i + 1]; ++k) {
      score[k] = inner_product<double>(dimension, q, document + lists.column[k] * dimension);
    }
  }
}

void cpu_list_losses(const ListLossSetup& setup, const ScoreLists& lists, const double* score,
                     double inverse_temperature, double* gradient, double* totals) {
  std::vector<double> value(static_cast<std::size_t>(lists.lists)), slope(value.size());
#pragma omp parallel if (lists.documents * lists.longest >= kParallelPairs)
  {
    std::vector<double> room(static_cast<std::size_t>(lists.longest * kListWorkBytes) / sizeof(double));
    with_list_kind(setup.options.kind, [&]<ListLossKind Kind>() {
#pragma omp for schedule(static)
      for (std::int64_t i = 0; i < lists.lists; ++i) {
        value[i] = one_list<Kind>(setup, lists, i, score, inverse_temperature, room, gradient, &slope[i]);
      }
    });
  }
  totals[0] = totals[1] = 0;
  for (std::int64_t i = 0; i < lists.lists; ++i) {
    totals[0] += value[i];
    totals[1] += slope[i];
  }
}

template <class T>
void cpu_list_embedding_gradients(const ScoreLists& lists, std::int64_t dimension, const double* gradient,
                                  double count, const T* query, const T* document, T* d_query,
                                  T* d_document) {
#pragma omp parallel for schedule(static) if (lists.documents * dimension >= kParallelElements)
  for (std::int64_t i = 0; i < lists.lists; ++i) {
    const T* q = query + lists.query[i] * dimension;
    T* dq = d_query + lists.query[i] * dimension;
    std::fill_n(dq, dimension, T{0});
    for (std::int64_t k = lists.offsets[i]; k < lists.offsets[i + 1]; ++k) {
      const T slope = static_cast<T>(gradient[k] / count);
      const T* d = document + lists.column[k] * dimension;
      T* dd = d_document + lists.column[k] * dimension;
#pragma omp simd
      for (std::int64_t j = 0; j < dimension; ++j) {
        dq[j] += slope * d[j];
        dd[j] = slope * q[j];
      }
    }
  }
}

#define TOLLER_INSTANTIATE(T)                                                                           \
  template void cpu_list_scores<T>(const ScoreLists&, std::int64_t, const T*, const T*, double*);       \
  template void cpu_list_embedding_gradients<T>(const ScoreLists&, std::int64_t, const double*, double, \
                                                const T*, const T*, T*, T*);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
