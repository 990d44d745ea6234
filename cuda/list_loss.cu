// Lists of documents: scores, losses, gradients of the embeddings. A block has a list of K documents.
//   scores:    a warp has a document; reads (K + 1) d elements from memory, the query again from the caches;
//              K d multiplications and additions in double.
//   losses:    device/lists; for most kinds K² terms of some 100 operations in double, each pair from both of
//              its documents, in shared memory. 4,096 lists of 32: 4 · 10⁶ terms, some 10⁹ operations.
//   gradients: reads (K + 1) d elements and writes (K + 1) d floats; 2 K d multiplications, K d additions.
// Scores and gradients are bounded by the bytes of the embeddings, losses of short lists by latency.
#include "cuda/bfloat16.cuh"
#include "cuda/block_team.cuh"
#include "cuda/launch.cuh"
#include "cuda/list_loss.cuh"
#include "cuda/reduce.cuh"
#include "device/lists/list_value.h"

namespace toller {
namespace {

constexpr int kThreads = 256;

/// Lists up to so long are a warp's work.
constexpr std::int64_t kWarpList = 48;

template <class T>
__global__ void __launch_bounds__(kThreads)
    list_scores_kernel(ScoreLists lists, std::int64_t dimension, const T* query, const T* document,
                       double* score) {
  const std::int64_t list = blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const T* q = query + lists.query[list] * dimension;
  for (std::int64_t k = lists.offsets[list] + warp; k < lists.offsets[list + 1]; k += kThreads / 32) {
    const T* d = document + lists.column[k] * dimension;
    double sum = 0;
#pragma unroll 4
    for (std::int64_t j = lane; j < dimension; j += 32) {
      sum += static_cast<double>(to_float(q[j])) * static_cast<double>(to_float(d[j]));
    }
    sum = warp_sum(sum);
    if (lane == 0) score[k] = sum;
  }
}

/// part [2 · list] = the list's value and its derivative by log τ. Four blocks of 256 threads at a time on an
/// SM leave 64 registers a thread.
template <ListLossKind Kind, int Threads>
__global__ void __launch_bounds__(Threads, Threads == 32 ? 16 : 4)
    list_losses_kernel(ListLossSetup setup, ScoreLists lists, const double* score,
                       const double* inverse_temperature, double* gradient, double* part) {
  const BlockTeam<Threads> team;
  const std::int64_t first = lists.offsets[blockIdx.x], size = lists.offsets[blockIdx.x + 1] - first;
  const ScoreList list{size,
                       score + first,
                       lists.grade + first,
                       lists.teacher == nullptr ? nullptr : lists.teacher + first,
                       gradient + first,
                       make_list_work(dynamic_shared<double>(), size),
                       setup.first_query + lists.query[blockIdx.x]};
  const double value = list_value<Kind>(team, list, *inverse_temperature, setup);
  const double slope = list_temperature_slope<Kind>(team, list);
  if (threadIdx.x != 0) return;
  part[2 * blockIdx.x] = value;
  part[2 * blockIdx.x + 1] = slope;
}

/// totals [2] = Σ part [2 · lists].
__global__ void __launch_bounds__(kThreads)
    add_lists_kernel(std::int64_t lists, const double* part, double* totals) {
  double value = 0, slope = 0;
  for (std::int64_t i = threadIdx.x; i < lists; i += kThreads) {
    value += part[2 * i];
    slope += part[2 * i + 1];
  }
  value = block_sum<kThreads>(value);
  slope = block_sum<kThreads>(slope);
  if (threadIdx.x != 0) return;
  totals[0] = value;
  totals[1] = slope;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    list_embedding_gradients_kernel(ScoreLists lists, std::int64_t dimension, const double* gradient,
                                    const double* count, const T* query, const T* document, float* d_query,
                                    float* d_document) {
  float* slope = dynamic_shared<float>();
  const std::int64_t first = lists.offsets[blockIdx.x], size = lists.offsets[blockIdx.x + 1] - first;
  for (std::int64_t k = threadIdx.x; k < size; k += kThreads) {
    slope[k] = static_cast<float>(gradient[first + k] / *count);
  }
  __syncthreads();
  const std::int64_t row = lists.query[blockIdx.x];
  for (std::int64_t j = threadIdx.x; j < dimension; j += kThreads) {
    const float q = to_float(query[row * dimension + j]);
    float sum = 0;
#pragma unroll 4
    for (std::int64_t k = 0; k < size; ++k) {
      const std::int64_t at = lists.column[first + k] * dimension + j;
      sum += slope[k] * to_float(document[at]);
      d_document[at] = slope[k] * q;
    }
    d_query[row * dimension + j] = sum;
  }
}

unsigned blocks_of(const ScoreLists& lists) {
  if (lists.longest > kLongestDeviceList) {
    fail_size("the number of documents of a query", lists.longest, kLongestDeviceList);
  }
  return static_cast<unsigned>(lists.lists);
}

}  // namespace

template <class T>
void list_scores(const ScoreLists& lists, std::int64_t dimension, const T* query, const T* document,
                 double* score, cudaStream_t stream) {
  if (lists.lists == 0) return;
  launch<list_scores_kernel<T>>(blocks_of(lists), kThreads, 0, stream, lists, dimension, query, document,
                                score);
}

std::int64_t list_losses_workspace(std::int64_t lists) {
  return 2 * lists;
}

void list_losses(const ListLossSetup& setup, const ScoreLists& lists, const double* score,
                 const double* inverse_temperature, double* gradient, double* totals, double* workspace,
                 cudaStream_t stream) {
  if (lists.lists > 0) {
    const auto shared = static_cast<std::size_t>(lists.longest * kListWorkBytes);
    with_list_kind(setup.options.kind, [&]<ListLossKind Kind>() {
      if (lists.longest <= kWarpList) {
        launch<list_losses_kernel<Kind, 32>>(blocks_of(lists), 32, shared, stream, setup, lists, score,
                                             inverse_temperature, gradient, workspace);
      } else {
        launch<list_losses_kernel<Kind, kThreads>>(blocks_of(lists), kThreads, shared, stream, setup, lists,
                                                   score, inverse_temperature, gradient, workspace);
      }
    });
  }
  launch<add_lists_kernel>(1, kThreads, 0, stream, lists.lists, workspace, totals);
}

template <class T>
void list_embedding_gradients(const ScoreLists& lists, std::int64_t dimension, const double* gradient,
                              const double* count, const T* query, const T* document, float* d_query,
                              float* d_document, cudaStream_t stream) {
  if (lists.lists == 0) return;
  const auto shared = static_cast<std::size_t>(lists.longest) * sizeof(float);
  launch<list_embedding_gradients_kernel<T>>(blocks_of(lists), kThreads, shared, stream, lists, dimension,
                                             gradient, count, query, document, d_query, d_document);
}

#define TOLLER_INSTANTIATE(T)                                                                               \
  template void list_scores<T>(const ScoreLists&, std::int64_t, const T*, const T*, double*, cudaStream_t); \
  template void list_embedding_gradients<T>(const ScoreLists&, std::int64_t, const double*, const double*,  \
                                            const T*, const T*, float*, float*, cudaStream_t);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(bfloat16)
#undef TOLLER_INSTANTIATE

}  // namespace toller
