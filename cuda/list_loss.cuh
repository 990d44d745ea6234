// Lists of documents on the GPU (ScoreOps, section lists; device/lists/list_loss.h says what a list is). T is
// the storage type of the embeddings: float or bfloat16. All pointers are device memory; every function only
// puts kernels on the stream. A list has up to kLongestDeviceList documents: list_losses throws Error above.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "device/lists/list_loss.h"

namespace toller {

/// score [documents] = ⟨q, d⟩ of each document and its list's query, added up in double.
template <class T>
void list_scores(const ScoreLists& lists, std::int64_t dimension, const T* query, const T* document,
                 double* score, cudaStream_t stream);

/// Doubles of workspace for list_losses.
std::int64_t list_losses_workspace(std::int64_t lists);

/// gradient [documents], and totals [2]: the sums of the lists' values and of their derivatives by log τ.
void list_losses(const ListLossSetup& setup, const ScoreLists& lists, const double* score,
                 const double* inverse_temperature, double* gradient, double* totals, double* workspace,
                 cudaStream_t stream);

/// The rows of d_query and d_document that belong to a list, from gradient / count [0].
template <class T>
void list_embedding_gradients(const ScoreLists& lists, std::int64_t dimension, const double* gradient,
                              const double* count, const T* query, const T* document, float* d_query,
                              float* d_document, cudaStream_t stream);

}  // namespace toller
