#include "cuda/cuda_ops.h"

#include <algorithm>
#include <type_traits>

#include "cuda/checks.cuh"
#include "cuda/column_sums.cuh"
#include "cuda/elementwise.cuh"
#include "cuda/gelu.cuh"
#include "cuda/launch.cuh"
#include "cuda/norm.cuh"
#include "cuda/pooling.cuh"
#include "cuda/scalars.cuh"
#include "device/token_places.h"
#include "error.h"

namespace toller {
namespace {

/// Columns of a row that the norm kernels hold in registers (row.cuh).
constexpr std::int64_t kMaxHidden = 4096;

const PreparedSequences& prepared(const PackedSequences& sequences) {
  if (sequences.prepared == nullptr) fail("a packed batch was not uploaded to the GPU");
  return *sequences.prepared;
}

}  // namespace

template <class T>
void CudaOps<T>::scale(Real* x, std::int64_t n, double factor) {
  toller::scale(n, static_cast<float>(factor), x, stream());
}

template <class T>
void CudaOps<T>::convert(std::int64_t n, const Real* from, T* to) {
  if constexpr (std::is_same_v<T, Real>) {
    copy_bytes(from, static_cast<std::size_t>(n) * sizeof(T), to);
  } else {
    toller::convert(n, from, on_device(to), stream());
  }
}

template <class T>
void CudaOps<T>::add_scalar(const double* x, double factor, Real* y) {
  toller::add_scalar(x, factor, y, stream());
}

template <class T>
void CudaOps<T>::clamp_scalar(Real* x, double low, double high) {
  toller::clamp_scalar(static_cast<float>(low), static_cast<float>(high), x, stream());
}

template <class T>
void CudaOps<T>::check_sizes(std::int64_t hidden, std::int64_t heads) const {
  if (hidden > kMaxHidden) {
    fail_usage("the hidden size is {}; a GPU takes it up to {}, --device cpu takes any", hidden, kMaxHidden);
  }
  try {
    check_head_size(hidden / heads);
  } catch (const Error& problem) {
    fail_usage("{}", problem.what());
  }
}

template <class T>
void CudaOps<T>::begin_step() {
  CudaMemory::begin_step();
  prepared_.clear();
}

template <class T>
PackedSequences CudaOps<T>::upload_sequences(const PackedSequences& host) {
  const auto rows = static_cast<std::size_t>(host.tokens);
  PackedSequences sequences = host;
  sequences.offsets =
      this->template upload<std::int32_t>({host.offsets, static_cast<std::size_t>(host.count + 1)});
  sequences.global_row = this->template upload<std::int64_t>({host.global_row, rows});
  sequences.token = this->template upload<std::int32_t>({host.token, rows});
  PreparedSequences& made = prepared_.emplace_back();
  made.host = host;
  made.places = token_places(host);
  made.rows = {host.tokens, sequences.token, this->template upload<std::int32_t>(made.places),
               sequences.global_row};
  made.attention = {this->template take_for_step<AttentionTile>(attention_tiles_at_most(host)),
                    this->template take_for_step<std::int32_t>(1)};
  if (host.count > 0) build_attention_work(sequences, made.attention, stream());
  sequences.prepared = &made;
  return sequences;
}

template <class T>
DeviceSegments CudaOps<T>::upload_segments(std::span<const std::int32_t> keys) {
  const RowSegments segments = make_row_segments(keys);
  return {this->template upload<std::int32_t>(segments.order),
          this->template upload<std::int32_t>(segments.begin),
          this->template upload<std::int32_t>(segments.key), static_cast<std::int64_t>(segments.key.size())};
}

template <class T>
void CudaOps<T>::gemm(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k,
                      const T* a, std::int64_t lda, const T* b, std::int64_t ldb, double beta, Real* c,
                      std::int64_t ldc) {
  products_.multiply(transpose_a, transpose_b, m, n, k, 1.0f, on_device(a), lda, on_device(b), ldb,
                     static_cast<float>(beta), c, ldc);
}

template <class T>
void CudaOps<T>::linear(std::int64_t rows, std::int64_t in, std::int64_t out, const T* x, const T* w,
                        const T* bias, T* y) {
  products_.linear(rows, in, out, on_device(x), on_device(w), on_device(bias), on_device(y));
}

template <class T>
void CudaOps<T>::linear_gelu(std::int64_t rows, std::int64_t in, std::int64_t out, const T* x, const T* w,
                             const T* bias, T* pre, T* y) {
  linear(rows, in, out, x, w, bias, pre);
  using Storage = typename DeviceStorage<T>::Type;
  bias_gelu<Storage>(rows, out, on_device(pre), nullptr, on_device(pre), on_device(y), stream());
}

template <class T>
void CudaOps<T>::linear_backward_parameters(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                            const T* x, Real* dw, Real* dbias) {
  products_.linear_backward_parameters(rows, in, out, on_device(dy), on_device(x), dw, dbias);
}

template <class T>
void CudaOps<T>::linear_backward_input(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                       const T* w, T* dx, bool accumulate) {
  products_.linear_backward_input(rows, in, out, on_device(dy), on_device(w), on_device(dx), accumulate);
}

template <class T>
void CudaOps<T>::linear_gelu_backward_input(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                            const T* w, const T* pre, T* dpre) {
  linear_backward_input(rows, in, out, dy, w, dpre, false);
  gelu_backward(rows * in, on_device(pre), on_device(dpre), stream());
}

template <class T>
void CudaOps<T>::embed(const PackedSequences& sequences, std::int64_t hidden, const T* word,
                       const T* position, const T* type, const T* gain, const T* bias, double epsilon,
                       const Dropout& dropout, T* sum, Real* mean, Real* rstd, T* y) {
  toller::embed(prepared(sequences).rows, hidden, on_device(word), on_device(position), on_device(type),
                on_device(gain), on_device(bias), static_cast<float>(epsilon), dropout, on_device(sum), mean,
                rstd, on_device(y), stream());
}

template <class T>
void CudaOps<T>::embed_backward(const PackedSequences& sequences, std::int64_t hidden, T* dy, const T* sum,
                                const Real* mean, const Real* rstd, const T* gain, const Dropout& dropout,
                                Real* dword, Real* dposition, Real* dtype, Real* dgain, Real* dbias) {
  const PreparedSequences& made = prepared(sequences);
  const std::int64_t rows = sequences.tokens;
  float* workspace = workspace_.at_least<float>(
      std::max(norm_backward_workspace(rows, hidden), column_sums_workspace(rows, hidden)));
  embed_norm_backward(made.rows, hidden, on_device(dy), on_device(sum), mean, rstd, on_device(gain), dropout,
                      dtype, dgain, dbias, workspace, stream());
  add_to_table(upload_segments({made.host.token, static_cast<std::size_t>(rows)}), hidden, on_device(dy),
               dword, stream());
  add_to_table(upload_segments(made.places), hidden, on_device(dy), dposition, stream());
}

template <class T>
void CudaOps<T>::residual_norm(const PackedSequences& sequences, std::int64_t hidden, T* x, const T* x_bias,
                               const T* residual, const T* gain, const T* bias, double epsilon,
                               const Dropout& dropout, Real* mean, Real* rstd, T* y) {
  toller::residual_norm(sequences.tokens, hidden, sequences.global_row, on_device(x), on_device(x_bias),
                        on_device(residual), on_device(gain), on_device(bias), static_cast<float>(epsilon),
                        dropout, mean, rstd, on_device(y), stream());
}

template <class T>
void CudaOps<T>::residual_norm_backward(const PackedSequences& sequences, std::int64_t hidden, const T* dy,
                                        const T* sum, const Real* mean, const Real* rstd, const T* gain,
                                        const Dropout& dropout, T* dsum, T* dx, Real* dgain, Real* dbias) {
  float* workspace = workspace_.at_least<float>(norm_backward_workspace(sequences.tokens, hidden));
  toller::residual_norm_backward(sequences.tokens, hidden, sequences.global_row, on_device(dy),
                                 on_device(sum), mean, rstd, on_device(gain), dropout, on_device(dsum),
                                 on_device(dx), dgain, dbias, workspace, stream());
}

template <class T>
void CudaOps<T>::attention(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads,
                           const T* qkv, const Dropout& dropout, Real* logsumexp, T* out) {
  toller::attention(sequences, hidden, heads, prepared(sequences).attention, on_device(qkv), dropout,
                    logsumexp, on_device(out), stream());
}

template <class T>
void CudaOps<T>::attention_backward(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads,
                                    const T* qkv, const T* out, const Real* logsumexp, const T* dout,
                                    const Dropout& dropout, T* dqkv) {
  float* delta = workspace_.at_least<float>(sequences.tokens * heads);
  toller::attention_backward(sequences, hidden, heads, prepared(sequences).attention, on_device(qkv),
                             on_device(out), logsumexp, on_device(dout), dropout, delta, on_device(dqkv),
                             stream());
}

template <class T>
void CudaOps<T>::pool_mean(const PackedSequences& sequences, std::int64_t hidden, const T* x, Real* y) {
  pool(sequences.count, sequences.offsets, hidden, PooledTokens::kMean, on_device(x), y, stream());
}

template <class T>
void CudaOps<T>::pool_mean_backward(const PackedSequences& sequences, std::int64_t hidden, const Real* dy,
                                    T* dx) {
  pool_backward(sequences.count, sequences.offsets, hidden, PooledTokens::kMean, dy, on_device(dx), stream());
}

template <class T>
void CudaOps<T>::pool_token(const PackedSequences& sequences, std::int64_t hidden, bool last, const T* x,
                            Real* y) {
  const PooledTokens which = last ? PooledTokens::kLast : PooledTokens::kFirst;
  pool(sequences.count, sequences.offsets, hidden, which, on_device(x), y, stream());
}

template <class T>
void CudaOps<T>::pool_token_backward(const PackedSequences& sequences, std::int64_t hidden, bool last,
                                     const Real* dy, T* dx) {
  const PooledTokens which = last ? PooledTokens::kLast : PooledTokens::kFirst;
  pool_backward(sequences.count, sequences.offsets, hidden, which, dy, on_device(dx), stream());
}

template <class T>
void CudaOps<T>::normalize_rows(std::int64_t rows, std::int64_t hidden, const Real* x, Real* norm, Real* y) {
  toller::normalize_rows(rows, hidden, x, norm, y, stream());
}

template <class T>
void CudaOps<T>::normalize_rows_backward(std::int64_t rows, std::int64_t hidden, const Real* dy,
                                         const Real* y, const Real* norm, Real* dx) {
  toller::normalize_rows_backward(rows, hidden, dy, y, norm, dx, stream());
}

template <class T>
void CudaOps<T>::squared_norm(const Real* x, std::int64_t n, double* result) {
  toller::squared_norm(n, x, result, workspace_.at_least<double>(squared_norm_workspace(n)), stream());
}

template <class T>
void CudaOps<T>::adamw(std::span<const DecaySlice> slices, const Real* gradient, const AdamWStep& step,
                       const GradientClip& clip, Real* parameter, Real* m, Real* v, T* copy) {
  if (adamw_tiles_.size() == 0) {
    const std::vector<AdamWTile> tiles = make_adamw_tiles(slices);
    adamw_tiles_ = DeviceBuffer<AdamWTile>(*this, static_cast<std::int64_t>(tiles.size()));
    adamw_tiles_.write(tiles);
  }
  bfloat16* rounded = nullptr;
  if constexpr (!std::is_same_v<T, Real>) rounded = on_device(copy);
  toller::adamw(adamw_tiles_.size(), adamw_tiles_.data(), gradient, step, clip, parameter, m, v, rounded,
                stream());
}

template <class T>
void CudaOps<T>::count_not_finite(const double* total, const Real* x, const std::int64_t* bounds,
                                  std::int64_t parts, std::int64_t* count) {
  toller::count_not_finite(total, x, bounds, parts, count, stream());
}

template <class T>
void CudaOps<T>::content_hash(const Real* x, std::int64_t n, std::uint64_t* result) {
  this->zero(result, 1);
  add_content_hash(n, x, result, stream());
}

template class CudaOps<BFloat16>;
template class CudaOps<float>;

}  // namespace toller
