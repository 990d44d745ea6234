// Embedding lookup with its layer norm, and the gradients of the tables (Ops::embed, Ops::embed_backward). T
// is the storage type; statistics and gradients of parameters are float. All pointers are device memory but
// those of RowSegments' own vectors.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <span>
#include <vector>

#include "device/ops.h"

namespace toller {

/// Rows of a batch by the table row that they read: segment s has the rows order[begin[s]] … order[begin[s +
/// 1]), in ascending order, all of which read table row key[s]. Made on the host while the batch is prepared.
struct RowSegments {
  std::vector<std::int32_t> order;  ///< [rows]
  std::vector<std::int32_t> begin;  ///< [segments + 1]
  std::vector<std::int32_t> key;    ///< [segments], ascending
};
RowSegments make_row_segments(std::span<const std::int32_t> keys);

/// The same in device memory.
struct DeviceSegments {
  const std::int32_t* order = nullptr;
  const std::int32_t* begin = nullptr;
  const std::int32_t* key = nullptr;
  std::int64_t count = 0;
};

/// What the kernels need of a packed batch; [rows] each.
struct EmbeddingRows {
  std::int64_t rows = 0;
  const std::int32_t* token = nullptr;
  const std::int32_t* place = nullptr;       ///< in the sequence
  const std::int64_t* global_row = nullptr;  ///< may be null where nothing is dropped
};

/// sum [rows, hidden] = word[token] + position[place] + type[0]; y = dropout(norm(sum)). `type` may be null.
template <class T>
void embed(const EmbeddingRows& rows, std::int64_t hidden, const T* word, const T* position, const T* type,
           const T* gain, const T* bias, float epsilon, const Dropout& dropout, T* sum, float* mean,
           float* rstd, T* y, cudaStream_t stream);

/// Through dropout and norm: `dy` is overwritten with the gradient of `sum`; dgain, dbias and dtype [hidden]
/// are added to; `dtype` may be null. The workspace is the larger of norm_backward_workspace and
/// column_sums_workspace.
template <class T>
void embed_norm_backward(const EmbeddingRows& rows, std::int64_t hidden, T* dy, const T* sum,
                         const float* mean, const float* rstd, const T* gain, const Dropout& dropout,
                         float* dtype, float* dgain, float* dbias, float* workspace, cudaStream_t stream);

/// table[key[s]] += Σ d[order[i]] over the rows i of segment s, for every segment; the same bits for the same
/// input. Serves the word table with the tokens' segments and the position table with the places'.
template <class T>
void add_to_table(const DeviceSegments& segments, std::int64_t hidden, const T* d, float* table,
                  cudaStream_t stream);

}  // namespace toller
