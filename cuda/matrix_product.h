// Matrix products through cuBLASLt: the linear layers, their gradients and tiles of scores. All matrices are
// row-major, ld* are row strides in elements, all pointers are memory of the device.
//
// T is the storage type. Sums are made in float always: bfloat16 runs on the tensor cores with float
// accumulators; float, the verification mode, runs in full float (CUBLAS_COMPUTE_32F, never TF32).
//
// Operations: 2 m n k a product. Bytes, each matrix once: sizeof(A) (m k + k n) + sizeof(C) m n, and m n
// again where C is added to.
//
// The GELU is not in here: cuBLASLt's GELU epilogues are the tanh approximation, ours is the exact one. A
// layer with a GELU is linear() with its bias, which is added before the result is rounded, then bias_gelu()
// of gelu.cuh without one, in place; backward, linear_backward_input() and gelu_backward().
//
// Determinism: the same bits for the same shape, alignment and input on the same GPU. Algorithms that cut the
// sum over k into parts are let in only where they keep the parts as floats in the workspace and add them up
// in a step of its own (CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE). In place, or with parts in the output's
// type, bfloat16 would be rounded between the parts, which float accumulation is not. The workspace belongs
// to this object and so to one stream, as NVIDIA's notes on reproducible results ask.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "cuda/bfloat16.cuh"

namespace toller {

/// The products of one stream. Not for several threads at once. Every shape (sizes, strides, alignments,
/// types) is planned when it first comes: descriptors and the algorithm of cuBLASLt's heuristic are kept, and
/// from then on a product allocates nothing. Products are queued; no method waits for the device.
///
/// Every method throws Error with the operation, the sizes and cuBLASLt's status when it fails. Matrices
/// without rows are fine.
class MatrixProducts {
 public:
  /// Plans that are kept; beyond them the one that was not used for longest is dropped.
  static constexpr std::size_t kMaxPlans = 1024;
  /// Outputs of a layer with a bias gradient.
  static constexpr std::int64_t kMaxBiasGradient = 65536;

  /// Loads cuBLASLt (cublaslt_library.h) and allocates the workspace, 32 MiB, on the current device.
  explicit MatrixProducts(cudaStream_t stream);
  ~MatrixProducts();
  MatrixProducts(const MatrixProducts&) = delete;
  MatrixProducts& operator=(const MatrixProducts&) = delete;

  /// c [m, n] = alpha · op(a) op(b) + beta · c; op transposes where asked. Where beta is 0, c is not read.
  /// float into float, bfloat16 into bfloat16 or float. Where k is 0, beta must be 0 or 1.
  template <class A, class C>
  void multiply(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k,
                float alpha, const A* a, std::int64_t lda, const A* b, std::int64_t ldb, float beta, C* c,
                std::int64_t ldc);

  /// y [rows, out] = x [rows, in] wᵀ + bias, w [out, in], rounded once; bias may be null.
  template <class T>
  void linear(std::int64_t rows, std::int64_t in, std::int64_t out, const T* x, const T* w, const T* bias,
              T* y);
  /// dw [out, in] += dyᵀ x, dbias [out] += column sums of dy.
  template <class T>
  void linear_backward_parameters(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                  const T* x, float* dw, float* dbias);
  /// dx [rows, in] = dy w, or dx += dy w when `accumulate`.
  template <class T>
  void linear_backward_input(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy, const T* w,
                             T* dx, bool accumulate);

  /// Plans kept now.
  std::size_t plans() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace toller
