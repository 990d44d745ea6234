// Ops on a GPU: the launchers of this folder behind the interface that the encoder and the optimiser are
// written against. T is BFloat16 (parameters and activations in bfloat16, statistics, embeddings and
// gradients of parameters in float, master parameters with the optimiser) or float (the verification mode).
#pragma once

#include <deque>
#include <vector>

#include "cuda/attention.cuh"
#include "cuda/cuda_memory.h"
#include "cuda/device_storage.h"
#include "cuda/embedding.cuh"
#include "cuda/matrix_product.h"
#include "cuda/optimizer.cuh"
#include "cuda/workspace.h"
#include "device/ops.h"

namespace toller {

/// A packed batch on the device, with what the kernels want beside it.
struct PreparedSequences {
  PackedSequences host;              ///< the batch as it was given
  std::vector<std::int32_t> places;  ///< of its tokens, in host memory
  EmbeddingRows rows;
  AttentionWork attention;
};

template <class T>
class CudaOps : public Ops<T>, public CudaMemory {
 public:
  using Real = RealOf<T>;

  explicit CudaOps(cudaStream_t stream) : CudaMemory(stream), products_(stream), workspace_(*this) {}

  void scale(Real* x, std::int64_t n, double factor) override;
  void convert(std::int64_t n, const Real* from, T* to) override;
  void add_scalar(const double* x, double factor, Real* y) override;
  void clamp_scalar(Real* x, double low, double high) override;
  void begin_step() override;
  void check_sizes(std::int64_t hidden, std::int64_t heads) const override;
  /// Enough to fill the GPU many times over; a limit is there for the scratch memory of the backward pass.
  std::int64_t chunk_tokens() const override { return 1 << 16; }
  PackedSequences upload_sequences(const PackedSequences& host) override;

  void gemm(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k, const T* a,
            std::int64_t lda, const T* b, std::int64_t ldb, double beta, Real* c, std::int64_t ldc) override;
  void linear(std::int64_t rows, std::int64_t in, std::int64_t out, const T* x, const T* w, const T* bias,
              T* y) override;
  void linear_gelu(std::int64_t rows, std::int64_t in, std::int64_t out, const T* x, const T* w,
                   const T* bias, T* pre, T* y) override;
  void linear_backward_parameters(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                  const T* x, Real* dw, Real* dbias) override;
  void linear_backward_input(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy, const T* w,
                             T* dx, bool accumulate) override;
  void linear_gelu_backward_input(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                  const T* w, const T* pre, T* dpre) override;

  void embed(const PackedSequences& sequences, std::int64_t hidden, const T* word, const T* position,
             const T* type, const T* gain, const T* bias, double epsilon, const Dropout& dropout, T* sum,
             Real* mean, Real* rstd, T* y) override;
  void embed_backward(const PackedSequences& sequences, std::int64_t hidden, T* dy, const T* sum,
                      const Real* mean, const Real* rstd, const T* gain, const Dropout& dropout, Real* dword,
                      Real* dposition, Real* dtype, Real* dgain, Real* dbias) override;
  void residual_norm(const PackedSequences& sequences, std::int64_t hidden, T* x, const T* x_bias,
                     const T* residual, const T* gain, const T* bias, double epsilon, const Dropout& dropout,
                     Real* mean, Real* rstd, T* y) override;
  void residual_norm_backward(const PackedSequences& sequences, std::int64_t hidden, const T* dy,
                              const T* sum, const Real* mean, const Real* rstd, const T* gain,
                              const Dropout& dropout, T* dsum, T* dx, Real* dgain, Real* dbias) override;

  void attention(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads, const T* qkv,
                 const Dropout& dropout, Real* logsumexp, T* out) override;
  void attention_backward(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads,
                          const T* qkv, const T* out, const Real* logsumexp, const T* dout,
                          const Dropout& dropout, T* dqkv) override;

  void pool_mean(const PackedSequences& sequences, std::int64_t hidden, const T* x, Real* y) override;
  void pool_mean_backward(const PackedSequences& sequences, std::int64_t hidden, const Real* dy,
                          T* dx) override;
  void pool_token(const PackedSequences& sequences, std::int64_t hidden, bool last, const T* x,
                  Real* y) override;
  void pool_token_backward(const PackedSequences& sequences, std::int64_t hidden, bool last, const Real* dy,
                           T* dx) override;
  void normalize_rows(std::int64_t rows, std::int64_t hidden, const Real* x, Real* norm, Real* y) override;
  void normalize_rows_backward(std::int64_t rows, std::int64_t hidden, const Real* dy, const Real* y,
                               const Real* norm, Real* dx) override;

  void squared_norm(const Real* x, std::int64_t n, double* result) override;
  void adamw(std::span<const DecaySlice> slices, const Real* gradient, const AdamWStep& step,
             const GradientClip& clip, Real* parameter, Real* m, Real* v, T* copy) override;

  void count_not_finite(const double* total, const Real* x, const std::int64_t* bounds, std::int64_t parts,
                        std::int64_t* count) override;
  void content_hash(const Real* x, std::int64_t n, std::uint64_t* result) override;

 private:
  DeviceSegments upload_segments(std::span<const std::int32_t> keys);

  MatrixProducts products_;
  Workspace workspace_;
  std::deque<PreparedSequences> prepared_;  ///< of the step in progress
  DeviceBuffer<AdamWTile> adamw_tiles_;
};

}  // namespace toller
