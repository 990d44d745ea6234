// CPU implementation of Ops. Its members are defined by family: linear.cpp, norm.cpp, attention.cpp,
// pooling.cpp and cpu_ops.cpp (memory, optimiser). Work is cut into blocks whose size does not depend on the
// number of threads, and sums over blocks run in block order: one machine gives the same bits with any number
// of threads, as far as its BLAS does.
#pragma once

#include <cblas.h>

#include <vector>

#include "device/ops.h"

namespace toller {

/// cblas_sgemm or cblas_dgemm, row-major.
inline void blas_gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, std::int64_t m, std::int64_t n, std::int64_t k,
                      float alpha, const float* a, std::int64_t lda, const float* b, std::int64_t ldb,
                      float beta, float* c, std::int64_t ldc) {
  cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
inline void blas_gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, std::int64_t m, std::int64_t n, std::int64_t k,
                      double alpha, const double* a, std::int64_t lda, const double* b, std::int64_t ldb,
                      double beta, double* c, std::int64_t ldc) {
  cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

template <class T>
class CpuOps final : public Ops<T> {
 public:
  void* allocate(std::size_t bytes) override;
  void release(void* memory) override;
  void zero_bytes(void* memory, std::size_t bytes) override;
  void copy_bytes(const void* from, std::size_t bytes, void* to) override;
  void copy_to_host(void* host, const void* device, std::size_t bytes) override;
  void copy_to_device(void* device, const void* host, std::size_t bytes) override;
  std::int64_t start_read(const void* device, std::size_t bytes) override;
  void finish_read(std::int64_t ticket, void* host) override;
  void begin_step() override {}
  const void* upload_bytes(const void* host, std::size_t) override { return host; }
  std::int64_t free_bytes() const override;

  void scale(T* x, std::int64_t n, double factor) override;
  void convert(std::int64_t n, const T* from, T* to) override;
  void add_scalar(const double* x, double factor, T* y) override;
  void clamp_scalar(T* x, double low, double high) override;
  void check_sizes(std::int64_t, std::int64_t) const override {}
  /// A chunk's activations stay in the caches from one operation to the next.
  std::int64_t chunk_tokens() const override { return 1024; }
  PackedSequences upload_sequences(const PackedSequences& host) override { return host; }

  void gemm(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k, const T* a,
            std::int64_t lda, const T* b, std::int64_t ldb, double beta, T* c, std::int64_t ldc) override;
  void linear(std::int64_t rows, std::int64_t in, std::int64_t out, const T* x, const T* w, const T* bias,
              T* y) override;
  void linear_gelu(std::int64_t rows, std::int64_t in, std::int64_t out, const T* x, const T* w,
                   const T* bias, T* pre, T* y) override;
  void linear_backward_parameters(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                  const T* x, T* dw, T* dbias) override;
  void linear_backward_input(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy, const T* w,
                             T* dx, bool accumulate) override;
  void linear_gelu_backward_input(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                  const T* w, const T* pre, T* dpre) override;

  void embed(const PackedSequences& sequences, std::int64_t hidden, const T* word, const T* position,
             const T* type, const T* gain, const T* bias, double epsilon, const Dropout& dropout, T* sum,
             T* mean, T* rstd, T* y) override;
  void embed_backward(const PackedSequences& sequences, std::int64_t hidden, T* dy, const T* sum,
                      const T* mean, const T* rstd, const T* gain, const Dropout& dropout, T* dword,
                      T* dposition, T* dtype, T* dgain, T* dbias) override;
  void residual_norm(const PackedSequences& sequences, std::int64_t hidden, T* x, const T* x_bias,
                     const T* residual, const T* gain, const T* bias, double epsilon, const Dropout& dropout,
                     T* mean, T* rstd, T* y) override;
  void residual_norm_backward(const PackedSequences& sequences, std::int64_t hidden, const T* dy,
                              const T* sum, const T* mean, const T* rstd, const T* gain,
                              const Dropout& dropout, T* dsum, T* dx, T* dgain, T* dbias) override;

  void attention(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads, const T* qkv,
                 const Dropout& dropout, T* logsumexp, T* out) override;
  void attention_backward(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads,
                          const T* qkv, const T* out, const T* logsumexp, const T* dout,
                          const Dropout& dropout, T* dqkv) override;

  void pool_mean(const PackedSequences& sequences, std::int64_t hidden, const T* x, T* y) override;
  void pool_mean_backward(const PackedSequences& sequences, std::int64_t hidden, const T* dy, T* dx) override;
  void pool_token(const PackedSequences& sequences, std::int64_t hidden, bool last, const T* x,
                  T* y) override;
  void pool_token_backward(const PackedSequences& sequences, std::int64_t hidden, bool last, const T* dy,
                           T* dx) override;
  void normalize_rows(std::int64_t rows, std::int64_t hidden, const T* x, T* norm, T* y) override;
  void normalize_rows_backward(std::int64_t rows, std::int64_t hidden, const T* dy, const T* y, const T* norm,
                               T* dx) override;

  void squared_norm(const T* x, std::int64_t n, double* result) override;
  void adamw(std::span<const DecaySlice> slices, const T* gradient, const AdamWStep& step,
             const GradientClip& clip, T* parameter, T* m, T* v, T* copy) override;

  void count_not_finite(const double* total, const T* x, const std::int64_t* bounds, std::int64_t parts,
                        std::int64_t* count) override;
  void content_hash(const T* x, std::int64_t n, std::uint64_t* result) override;

 private:
  /// sums [columns] += column sums of x [rows, columns], block by block.
  void add_column_sums(std::int64_t rows, std::int64_t columns, const T* x, T* sums);
  /// total [n] += Σ_b partial [b, n], in block order.
  void add_partials(std::int64_t blocks, std::int64_t n, const T* partial, T* total);

  std::vector<T> partial_;                       ///< block sums, kept between calls
  std::vector<std::vector<std::byte>> results_;  ///< by ticket; empty: free
};

/// Rows a block: 256 rows of a 1,024-wide fp32 activation fill half of a 2 MiB second-level cache.
inline constexpr std::int64_t kRowBlock = 256;

inline std::int64_t row_blocks(std::int64_t rows) {
  return (rows + kRowBlock - 1) / kRowBlock;
}

}  // namespace toller
