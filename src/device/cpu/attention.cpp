// Attention inside packed sequences, a (sequence, head) pair a task. Query rows go in blocks, so that the
// scores of a block stay in cache and memory is O(block · length), not O(length²). With S = Q Kᵀ/√c, lse_i =
// log Σ_j e^{S_ij}, P = e^{S − lse}, M the dropout scales:
//   O = (P ∘ M) V
//   dV = (P ∘ M)ᵀ dO,  dP = M ∘ (dO Vᵀ),  dS = P ∘ (dP − ⟨dO_i, O_i⟩),  dQ = dS K/√c,  dK = dSᵀ Q/√c
// (⟨dO_i, O_i⟩ = Σ_j P_ij dP_ij; Dao et al., FlashAttention, NeurIPS 2022, appendix B.)
#include <cmath>
#include <limits>
#include <vector>

#include "device/cpu/cpu_ops.h"
#include "device/cpu/dropout.h"
#include "device/cpu/inner_product.h"
#include "device/cpu/vector_math.h"

namespace toller {
namespace {

constexpr std::int64_t kQueryBlock = 64;

/// One head of one sequence, and the memory that its score blocks use.
template <class T>
struct HeadTask {
  std::int64_t first = 0;   ///< first token of the sequence
  std::int64_t length = 0;  ///< tokens of the sequence
  std::int64_t head = 0;
  std::int64_t heads = 0;
  std::int64_t size = 0;    ///< c: columns of a head
  std::int64_t stride = 0;  ///< row stride of qkv: 3h
  T scale = 0;              ///< 1/√c
};

template <class T>
struct Scratch {
  std::vector<T> scores, gradient, mask;
  void fit(std::int64_t length) {
    const auto need = static_cast<std::size_t>(kQueryBlock * length);
    if (scores.size() >= need) return;
    scores.resize(need);
    gradient.resize(need);
    mask.resize(need);
  }
};

template <class T>
Scratch<T>& thread_scratch(std::int64_t length) {
  thread_local Scratch<T> scratch;
  scratch.fit(length);
  return scratch;
}

/// Runs body(task) for every head of every sequence, on all threads.
template <class T, class Body>
void for_heads(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads, Body body) {
  const std::int64_t size = hidden / heads;
#pragma omp parallel for schedule(dynamic, 4)
  for (std::int64_t index = 0; index < sequences.count * heads; ++index) {
    const std::int64_t sequence = index / heads;
    const std::int64_t first = sequences.offsets[sequence];
    body(HeadTask<T>{first, sequences.offsets[sequence + 1] - first, index % heads, heads, size, 3 * hidden,
                     static_cast<T>(1 / std::sqrt(static_cast<double>(size)))});
  }
}

/// mask [rows, length] for query tokens [row, row + rows) of the task.
template <class T>
void attention_mask(const PackedSequences& sequences, const HeadTask<T>& task, const Dropout& dropout,
                    std::int64_t row, std::int64_t rows, T* mask) {
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t global = sequences.global_row[task.first + row + i] * task.heads + task.head;
    dropout_scales(dropout, global, sequences.length_limit, task.length, mask + i * task.length);
  }
}

template <class T>
void multiply_by(std::int64_t n, const T* factor, T* x) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) x[i] *= factor[i];
}

/// Scores → probabilities, in place; returns the log-sum-exp.
template <class T>
T softmax_row(std::int64_t n, T* x) {
  T highest = -std::numeric_limits<T>::infinity();
#pragma omp simd reduction(max : highest)
  for (std::int64_t j = 0; j < n; ++j) highest = x[j] > highest ? x[j] : highest;
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < n; ++j) {
    x[j] = vector_exp(x[j] - highest);
    sum += x[j];
  }
  const T inverse = T{1} / sum;
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) x[j] *= inverse;
  return highest + std::log(sum);
}

}  // namespace

template <class T>
void CpuOps<T>::attention(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads,
                          const T* qkv, const Dropout& dropout, T* logsumexp, T* out) {
  for_heads<T>(sequences, hidden, heads, [&](const HeadTask<T>& task) {
    Scratch<T>& scratch = thread_scratch<T>(task.length);
    T* scores = scratch.scores.data();
    const std::int64_t n = task.length, c = task.size;
    const T* query = qkv + task.first * task.stride + task.head * c;
    const T* key = query + hidden;
    const T* value = key + hidden;
    for (std::int64_t row = 0; row < n; row += kQueryBlock) {
      const std::int64_t rows = std::min(kQueryBlock, n - row);
      blas_gemm(CblasNoTrans, CblasTrans, rows, n, c, task.scale, query + row * task.stride, task.stride, key,
                task.stride, T{0}, scores, n);
      for (std::int64_t i = 0; i < rows; ++i) {
        logsumexp[(task.first + row + i) * heads + task.head] = softmax_row(n, scores + i * n);
      }
      if (dropout.rate > 0) {
        attention_mask(sequences, task, dropout, row, rows, scratch.mask.data());
        multiply_by(rows * n, scratch.mask.data(), scores);
      }
      blas_gemm(CblasNoTrans, CblasNoTrans, rows, c, n, T{1}, scores, n, value, task.stride, T{0},
                out + (task.first + row) * hidden + task.head * c, hidden);
    }
  });
}

template <class T>
void CpuOps<T>::attention_backward(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads,
                                   const T* qkv, const T* out, const T* logsumexp, const T* dout,
                                   const Dropout& dropout, T* dqkv) {
  for_heads<T>(sequences, hidden, heads, [&](const HeadTask<T>& task) {
    Scratch<T>& scratch = thread_scratch<T>(task.length);
    T *p = scratch.scores.data(), *ds = scratch.gradient.data(), *mask = scratch.mask.data();
    const std::int64_t n = task.length, c = task.size, stride = task.stride;
    const T* query = qkv + task.first * stride + task.head * c;
    const T *key = query + hidden, *value = key + hidden;
    T* dquery = dqkv + task.first * stride + task.head * c;
    T *dkey = dquery + hidden, *dvalue = dkey + hidden;
    const bool drops = dropout.rate > 0;
    for (std::int64_t row = 0; row < n; row += kQueryBlock) {
      const std::int64_t rows = std::min(kQueryBlock, n - row);
      const T beta = row == 0 ? T{0} : T{1};
      const std::int64_t token = task.first + row;
      const T* o = out + token * hidden + task.head * c;
      const T* d_o = dout + token * hidden + task.head * c;
      blas_gemm(CblasNoTrans, CblasTrans, rows, n, c, task.scale, query + row * stride, stride, key, stride,
                T{0}, p, n);
      blas_gemm(CblasNoTrans, CblasTrans, rows, n, c, T{1}, d_o, hidden, value, stride, T{0}, ds, n);
      if (drops) {
        attention_mask(sequences, task, dropout, row, rows, mask);
        multiply_by(rows * n, mask, ds);
      }
      for (std::int64_t i = 0; i < rows; ++i) {
        const T lse = logsumexp[(token + i) * heads + task.head];
        const T mean = inner_product<T>(c, d_o + i * hidden, o + i * hidden);
        T *pi = p + i * n, *dsi = ds + i * n;
#pragma omp simd
        for (std::int64_t j = 0; j < n; ++j) {
          pi[j] = vector_exp(pi[j] - lse);
          dsi[j] = pi[j] * (dsi[j] - mean);
        }
      }
      if (drops) multiply_by(rows * n, mask, p);
      blas_gemm(CblasTrans, CblasNoTrans, n, c, rows, T{1}, p, n, d_o, hidden, beta, dvalue, stride);
      blas_gemm(CblasNoTrans, CblasNoTrans, rows, c, n, task.scale, ds, n, key, stride, T{0},
                dquery + row * stride, stride);
      blas_gemm(CblasTrans, CblasNoTrans, n, c, rows, task.scale, ds, n, query + row * stride, stride, beta,
                dkey, stride);
    }
  });
}

template class CpuOps<float>;
template class CpuOps<double>;

}  // namespace toller
