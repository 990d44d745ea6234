// Embedding lookup and layer norm, forward and backward; the mathematics of the norm is in norm_row.cuh.
//   forward bytes an element, w = sizeof(T): reads a row of the word table, 4 w with the writes of sum and y
//   and the position row, which mostly comes from cache. About 10 operations, and 25 integer ones for the
//   mask. backward through the norm: as residual_norm_backward, 3 w, and w more for the gradient of the type
//   row, a column sum of its own. tables: reads w an element of d once a table; reads and writes 8 bytes an
//   element of the table rows in use.
// Several rows of a batch read the same table row. Their gradients are added up by one block in a fixed
// order, from lists of rows sorted by table row that the host makes: no atomics, the same bits every time. A
// block has 32 × 8 threads as in column_sums.cu, so that the 4,096 rows of the first position of 4,096
// sequences are 512 steps.
#include "cuda/embedding.cuh"

#include "cuda/column_sums.cuh"
#include "cuda/launch.cuh"
#include "cuda/norm_row.cuh"
#include "cuda/row_sums.cuh"

namespace toller {
namespace {

template <class T>
struct Embed {
  EmbeddingRows rows;
  const T *word, *position, *type, *gain, *bias;
  float epsilon;
  DropoutMask mask;
  T* sum;
  float *mean, *rstd;
  T* y;
};

template <int V, int Threads, class T>
__device__ __forceinline__ void look_up(const RowPart<V, Threads>& part, const Embed<T>& p, std::int64_t row,
                                        float (&s)[kThreadColumns]) {
  const T* word = p.word + std::int64_t{p.rows.token[row]} * part.hidden;
  const T* position = p.position + std::int64_t{p.rows.place[row]} * part.hidden;
  part.for_vectors([&](int index, int column) {
    float a[V], b[V], c[V] = {};
    load(word + column, a);
    load(position + column, b);
    if (p.type != nullptr) load(p.type + column, c);
#pragma unroll
    for (int i = 0; i < V; ++i) s[index + i] = to_float(from_float<T>(a[i] + b[i] + c[i]));
    store_at<V>(p.sum + row * part.hidden + column, index, s);
  });
}

// The compiler, left alone, spills for the sake of a ninth block a multiprocessor.
template <class T, int V, int Threads>
__global__ void __launch_bounds__(kRowBlockThreads, V == 8 ? 8 : 1) embed_kernel(int hidden, Embed<T> p) {
  using Part = RowPart<V, Threads>;
  const Part part(hidden);
  const std::int64_t row = std::int64_t{blockIdx.x} * Part::kRows + part.row();
  const bool there = row < p.rows.rows;
  float s[kThreadColumns] = {};
  if (there) look_up(part, p, row, s);
  float mean, rstd;
  row_statistics(part, p.epsilon, s, mean, rstd);
  if (!there) return;
  normalize_row(part, p.gain, p.bias, mean, rstd, s);
  if (p.mask.active) part.apply_dropout(p.mask, p.rows.global_row[row], s);
  part.for_vectors([&](int index, int column) { store_at<V>(p.y + row * hidden + column, index, s); });
  if (part.lane() == 0) {
    p.mean[row] = mean;
    p.rstd[row] = rstd;
  }
}

template <class T>
struct EmbedBackward {
  EmbeddingRows rows;
  T* dy;
  const T* sum;
  const float *mean, *rstd;
  const T* gain;
  DropoutMask mask;
  float* partial;  // [blocks, 2, hidden]
};

template <class T, int V, int Threads>
__global__ void __launch_bounds__(kRowBlockThreads)
    embed_norm_backward_kernel(int hidden, EmbedBackward<T> p) {
  using Part = RowPart<V, Threads>;
  const Part part(hidden);
  NormGradientSums sums;
  for (std::int64_t first = std::int64_t{blockIdx.x} * Part::kRows; first < p.rows.rows;
       first += std::int64_t{gridDim.x} * Part::kRows) {
    const std::int64_t row = first + part.row();
    const bool there = row < p.rows.rows;
    float s[kThreadColumns] = {}, d[kThreadColumns] = {};
    if (there) {
      part.for_vectors([&](int index, int column) {
        load_at<V>(p.dy + row * hidden + column, index, d);
        load_at<V>(p.sum + row * hidden + column, index, s);
      });
      if (p.mask.active) part.apply_dropout(p.mask, p.rows.global_row[row], d);
    }
    norm_row_backward(part, p.gain, there ? p.mean[row] : 0.0f, there ? p.rstd[row] : 0.0f, s, d, sums);
    if (there) {
      part.for_vectors([&](int index, int column) { store_at<V>(p.dy + row * hidden + column, index, d); });
    }
  }
  float* partial = p.partial + std::int64_t{blockIdx.x} * 2 * hidden;
  add_up_block(part, sums.gain, partial);
  add_up_block(part, sums.bias, partial + hidden);
}

template <class T, int V>
__global__ void __launch_bounds__(kSumThreads)
    add_to_table_kernel(DeviceSegments segments, std::int64_t hidden, const T* d, float* table) {
  const std::int64_t segment = blockIdx.x;
  float* row = table + std::int64_t{segments.key[segment]} * hidden;
  add_up_rows<V>(
      segments.begin[segment], segments.begin[segment + 1], hidden, blockIdx.y,
      [&](std::int64_t i) { return d + std::int64_t{segments.order[i]} * hidden; },
      [&](std::int64_t column, float sum) { row[column] += sum; });
}

template <class T, int V>
void launch_add_to_table(const DeviceSegments& segments, std::int64_t hidden, const T* d, float* table,
                         cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(segments.count), row_sums_blocks<V>(hidden));
  launch<add_to_table_kernel<T, V>>(grid, row_sums_block(), 0, stream, segments, hidden, d, table);
}

}  // namespace

template <class T>
void embed(const EmbeddingRows& rows, std::int64_t hidden, const T* word, const T* position, const T* type,
           const T* gain, const T* bias, float epsilon, const Dropout& dropout, T* sum, float* mean,
           float* rstd, T* y, cudaStream_t stream) {
  if (rows.rows == 0) return;
  const Embed<T> p{rows, word, position, type, gain, bias, epsilon, make_dropout_mask(dropout),
                   sum,  mean, rstd,     y};
  const bool vectors = vector_rows<T>(hidden, word, position, type, gain, bias, sum, y);
  choose_row_part<T>(hidden, vectors, [&]<int V, int Threads>() {
    const int at_a_time = RowPart<V, Threads>::kRows;
    const auto blocks = static_cast<unsigned>((rows.rows + at_a_time - 1) / at_a_time);
    launch<embed_kernel<T, V, Threads>>(blocks, kRowBlockThreads, 0, stream, static_cast<int>(hidden), p);
  });
}

template <class T>
void embed_norm_backward(const EmbeddingRows& rows, std::int64_t hidden, T* dy, const T* sum,
                         const float* mean, const float* rstd, const T* gain, const Dropout& dropout,
                         float* dtype, float* dgain, float* dbias, float* workspace, cudaStream_t stream) {
  if (rows.rows == 0) return;
  const EmbedBackward<T> p{rows, dy, sum, mean, rstd, gain, make_dropout_mask(dropout), workspace};
  const bool vectors = vector_rows<T>(hidden, dy, sum, gain);
  choose_row_part<T>(hidden, vectors, [&]<int V, int Threads>() {
    const int blocks = norm_backward_blocks(rows.rows, RowPart<V, Threads>::kRows);
    launch<embed_norm_backward_kernel<T, V, Threads>>(static_cast<unsigned>(blocks), kRowBlockThreads, 0,
                                                      stream, static_cast<int>(hidden), p);
    add_partials(blocks, hidden, 2 * hidden, workspace, dgain, stream);
    add_partials(blocks, hidden, 2 * hidden, workspace + hidden, dbias, stream);
  });
  if (dtype != nullptr) column_sums(rows.rows, hidden, dy, dtype, workspace, stream);
}

template <class T>
void add_to_table(const DeviceSegments& segments, std::int64_t hidden, const T* d, float* table,
                  cudaStream_t stream) {
  if (segments.count == 0) return;
  if (vector_rows<T>(hidden, d)) {
    launch_add_to_table<T, kVector<T>>(segments, hidden, d, table, stream);
  } else {
    launch_add_to_table<T, 1>(segments, hidden, d, table, stream);
  }
}

#define TOLLER_INSTANTIATE(T)                                                                          \
  template void embed<T>(const EmbeddingRows&, std::int64_t, const T*, const T*, const T*, const T*,   \
                         const T*, float, const Dropout&, T*, float*, float*, T*, cudaStream_t);       \
  template void embed_norm_backward<T>(const EmbeddingRows&, std::int64_t, T*, const T*, const float*, \
                                       const float*, const T*, const Dropout&, float*, float*, float*, \
                                       float*, cudaStream_t);                                          \
  template void add_to_table<T>(const DeviceSegments&, std::int64_t, const T*, float*, cudaStream_t);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(bfloat16)
#undef TOLLER_INSTANTIATE

}  // namespace toller
