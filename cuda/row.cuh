// Rows in registers. A row of up to 32 · Threads columns lies with `Threads` neighbouring threads of a block
// of 128, 32 columns a thread, so that it is read once however often it is used. In bfloat16 the smallest
// Threads that fit leave at least half of the threads with work from 256 columns up (768: 24 of 32; 384: 12
// of 16).
//
// A thread's columns come as units of 4 · V: the columns c … c + V − 1 of the four 16-column quarters of a
// group of 64. The four quarters share the Philox blocks of a dropout mask (philox.cuh). V elements move in
// one access of 16 bytes; where a row's size or address does not allow that, V is 1.
#pragma once

#include <cstdint>

#include "cuda/bfloat16.cuh"
#include "cuda/launch.cuh"
#include "cuda/philox.cuh"
#include "cuda/reduce.cuh"

namespace toller {

inline constexpr int kRowBlockThreads = 128;
inline constexpr int kThreadColumns = 32;
inline constexpr int kMaxRowColumns = kRowBlockThreads * kThreadColumns;

/// Where a thread's columns lie. Element (unit, word, i) of the thread is x[(unit · 4 + word) · V + i].
template <int V, int Threads>
struct RowPart {
  static constexpr int kUnits = kThreadColumns / (4 * V);
  static constexpr int kRows = kRowBlockThreads / Threads;  ///< rows of a block at a time
  int hidden;

  __device__ __forceinline__ explicit RowPart(int hidden_) : hidden(hidden_) {}
  /// Number of the row among those of the block.
  __device__ __forceinline__ int row() const { return static_cast<int>(threadIdx.x) / Threads; }
  __device__ __forceinline__ int lane() const { return static_cast<int>(threadIdx.x) % Threads; }
  /// First column of a vector; the vector is in the row if it is below `hidden`.
  __device__ __forceinline__ int column(int unit, int word) const {
    const int number = lane() + unit * Threads;
    return number / (16 / V) * 64 + word * 16 + number % (16 / V) * V;
  }

  /// body(index, column) for every vector of the thread: its elements are x[index … index + V).
  template <class Body>
  __device__ __forceinline__ void for_vectors(Body body) const {
#pragma unroll
    for (int unit = 0; unit < kUnits; ++unit) {
#pragma unroll
      for (int word = 0; word < 4; ++word) {
        const int first = column(unit, word);
        if (first < hidden) body((unit * 4 + word) * V, first);
      }
    }
  }

  /// x ∘= dropout scales of the row that counts as `global_row` in the batch of all ranks.
  __device__ __forceinline__ void apply_dropout(const DropoutMask& mask, std::int64_t global_row,
                                                float (&x)[kThreadColumns]) const {
    const std::uint64_t first = first_dropout_block(global_row, hidden);
#pragma unroll
    for (int unit = 0; unit < kUnits; ++unit) {
      const int begin = column(unit, 0);
      if (begin / 64 * 64 >= hidden) continue;
#pragma unroll
      for (int i = 0; i < V; ++i) {
        float scale[4];
        dropout_scales(mask, first + static_cast<std::uint64_t>(begin / 64 * 16 + begin % 16 + i), scale);
#pragma unroll
        for (int word = 0; word < 4; ++word) x[(unit * 4 + word) * V + i] *= scale[word];
      }
    }
  }
};

/// V elements at `from` into x[index …], one access.
template <int V, class T>
__device__ __forceinline__ void load_at(const T* from, int index, float (&x)[kThreadColumns]) {
  float values[V];
  load(from, values);
#pragma unroll
  for (int i = 0; i < V; ++i) x[index + i] = values[i];
}

template <int V, class T>
__device__ __forceinline__ void store_at(T* to, int index, const float (&x)[kThreadColumns]) {
  float values[V];
#pragma unroll
  for (int i = 0; i < V; ++i) values[i] = x[index + i];
  store(to, values);
}

/// 1 / norm; 0 for a zero row. A norm that is not a number stays one.
__device__ __forceinline__ float inverse_norm(float norm) {
  return norm == 0.0f ? 0.0f : 1.0f / norm;
}

/// Are these arrays of rows fit for accesses of 16 bytes?
template <class T, class... Pointers>
bool vector_rows(std::int64_t hidden, const Pointers*... pointers) {
  return hidden % kVector<T> == 0 && ((reinterpret_cast<std::uintptr_t>(pointers) % 16 == 0) && ...);
}

/// Calls body.template operator()<V, Threads>() with the values for rows of `hidden` columns.
template <class T, class Body>
void choose_row_part(std::int64_t hidden, bool vectors, Body body) {
  if (hidden > kMaxRowColumns) fail_size("the hidden size", hidden, kMaxRowColumns);
  const auto choose_threads = [&]<int V>() {
    if (hidden <= 16 * kThreadColumns) {
      body.template operator()<V, 16>();
    } else if (hidden <= 32 * kThreadColumns) {
      body.template operator()<V, 32>();
    } else {
      body.template operator()<V, kRowBlockThreads>();
    }
  };
  if (vectors) {
    choose_threads.template operator()<kVector<T>>();
  } else {
    choose_threads.template operator()<1>();
  }
}

}  // namespace toller
