// Ops that do their matrix products and nothing else: the same products, in the same order, on memory of the
// same sizes. The encoder run over them shows what a step would take if all else were free.
#pragma once

#include <algorithm>
#include <vector>

#include "device/cpu/cpu_ops.h"

namespace toller {

template <class T>
class MatrixProductsOnly final : public Ops<T> {
 public:
  MatrixProductsOnly() : cpu_(make_cpu_ops<T>()) {}

  void* allocate(std::size_t bytes) override {
    void* memory = cpu_->allocate(bytes);
    std::fill_n(static_cast<T*>(memory), bytes / sizeof(T), T(0.01));
    return memory;
  }
  void release(void* memory) override { cpu_->release(memory); }
  void zero_bytes(void*, std::size_t) override {}
  void copy_bytes(const void*, std::size_t, void*) override {}
  void copy_to_host(void*, const void*, std::size_t) override {}
  void copy_to_device(void*, const void*, std::size_t) override {}
  std::int64_t start_read(const void*, std::size_t) override { return 0; }
  void finish_read(std::int64_t, void*) override {}
  void begin_step() override {}
  const void* upload_bytes(const void* host, std::size_t) override { return host; }
  std::int64_t free_bytes() const override { return cpu_->free_bytes(); }
  void scale(T*, std::int64_t, double) override {}
  void convert(std::int64_t, const T*, T*) override {}
  void add_scalar(const double*, double, T*) override {}
  void clamp_scalar(T*, double, double) override {}
  void check_sizes(std::int64_t, std::int64_t) const override {}
  std::int64_t chunk_tokens() const override { return cpu_->chunk_tokens(); }
  PackedSequences upload_sequences(const PackedSequences& host) override { return host; }

  void gemm(bool ta, bool tb, std::int64_t m, std::int64_t n, std::int64_t k, const T* a, std::int64_t lda,
            const T* b, std::int64_t ldb, double beta, T* c, std::int64_t ldc) override {
    cpu_->gemm(ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc);
  }
  void linear(std::int64_t rows, std::int64_t in, std::int64_t out, const T* x, const T* w, const T*,
              T* y) override {
    gemm(false, true, rows, out, in, x, in, w, in, 0, y, out);
  }
  void linear_gelu(std::int64_t rows, std::int64_t in, std::int64_t out, const T* x, const T* w, const T*, T*,
                   T* y) override {
    gemm(false, true, rows, out, in, x, in, w, in, 0, y, out);
  }
  void linear_backward_parameters(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                  const T* x, T* dw, T*) override {
    gemm(true, false, out, in, rows, dy, out, x, in, 0, dw, in);
  }
  void linear_backward_input(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy, const T* w,
                             T* dx, bool) override {
    gemm(false, false, rows, in, out, dy, out, w, in, 0, dx, in);
  }
  void linear_gelu_backward_input(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                  const T* w, const T*, T* dpre) override {
    gemm(false, false, rows, in, out, dy, out, w, in, 0, dpre, in);
  }

  void embed(const PackedSequences&, std::int64_t, const T*, const T*, const T*, const T*, const T*, double,
             const Dropout&, T*, T*, T*, T*) override {}
  void embed_backward(const PackedSequences&, std::int64_t, T*, const T*, const T*, const T*, const T*,
                      const Dropout&, T*, T*, T*, T*, T*) override {}
  void residual_norm(const PackedSequences&, std::int64_t, T*, const T*, const T*, const T*, const T*, double,
                     const Dropout&, T*, T*, T*) override {}
  void residual_norm_backward(const PackedSequences&, std::int64_t, const T*, const T*, const T*, const T*,
                              const T*, const Dropout&, T*, T*, T*, T*) override {}

  void attention(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads, const T* qkv,
                 const Dropout&, T*, T* out) override {
    for_heads(sequences, hidden, heads,
              [&](std::int64_t first, std::int64_t n, std::int64_t column, std::int64_t c, T* scores, T*) {
                const T* query = qkv + first * 3 * hidden + column;
                product(false, true, n, n, c, query, 3 * hidden, query + hidden, 3 * hidden, scores, n);
                product(false, false, n, c, n, scores, n, query + 2 * hidden, 3 * hidden,
                        out + first * hidden + column, hidden);
              });
  }
  /// Four products; that which recomputes the scores is the implementation's choice and does not count.
  void attention_backward(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads,
                          const T* qkv, const T*, const T*, const T* dout, const Dropout&, T* dqkv) override {
    for_heads(
        sequences, hidden, heads,
        [&](std::int64_t first, std::int64_t n, std::int64_t column, std::int64_t c, T* scores, T* gradient) {
          const T* query = qkv + first * 3 * hidden + column;
          T* dquery = dqkv + first * 3 * hidden + column;
          const T* d_o = dout + first * hidden + column;
          product(false, true, n, n, c, d_o, hidden, query + 2 * hidden, 3 * hidden, gradient, n);
          product(true, false, n, c, n, scores, n, d_o, hidden, dquery + 2 * hidden, 3 * hidden);
          product(false, false, n, c, n, gradient, n, query + hidden, 3 * hidden, dquery, 3 * hidden);
          product(true, false, n, c, n, gradient, n, query, 3 * hidden, dquery + hidden, 3 * hidden);
        });
  }

  void pool_mean(const PackedSequences&, std::int64_t, const T*, T*) override {}
  void pool_mean_backward(const PackedSequences&, std::int64_t, const T*, T*) override {}
  void pool_token(const PackedSequences&, std::int64_t, bool, const T*, T*) override {}
  void pool_token_backward(const PackedSequences&, std::int64_t, bool, const T*, T*) override {}
  void normalize_rows(std::int64_t, std::int64_t, const T*, T*, T*) override {}
  void normalize_rows_backward(std::int64_t, std::int64_t, const T*, const T*, const T*, T*) override {}
  void squared_norm(const T*, std::int64_t, double*) override {}
  void adamw(std::span<const DecaySlice>, const T*, const AdamWStep&, const GradientClip&, T*, T*, T*,
             T*) override {}
  void count_not_finite(const double*, const T*, const std::int64_t*, std::int64_t, std::int64_t*) override {}
  void content_hash(const T*, std::int64_t, std::uint64_t*) override {}

 private:
  static void product(bool ta, bool tb, std::int64_t m, std::int64_t n, std::int64_t k, const T* a,
                      std::int64_t lda, const T* b, std::int64_t ldb, T* c, std::int64_t ldc) {
    blas_gemm(ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, m, n, k, T{1}, a, lda, b, ldb,
              T{0}, c, ldc);
  }

  template <class Body>
  void for_heads(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads, Body body) {
    const std::int64_t c = hidden / heads;
    const auto scores_size = static_cast<std::size_t>(sequences.max_length) * sequences.max_length;
#pragma omp parallel
    {
      std::vector<T> scores(scores_size, T(0.01)), gradient(scores_size, T(0.01));
#pragma omp for schedule(dynamic, 4)
      for (std::int64_t index = 0; index < sequences.count * heads; ++index) {
        const std::int64_t sequence = index / heads, first = sequences.offsets[sequence];
        body(first, sequences.offsets[sequence + 1] - first, index % heads * c, c, scores.data(),
             gradient.data());
      }
    }
  }

  std::unique_ptr<Ops<T>> cpu_;
};

}  // namespace toller
