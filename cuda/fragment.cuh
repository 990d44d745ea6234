// Matrix fragments for the tensor cores: C [16, 8] += A [16, 16] B [16, 8], bf16 operands, fp32 sums (PTX
// mma.sync.m16n8k16 and ldmatrix, sm_80 and up). Every function here is a step of a whole warp: all 32 lanes
// call it together.
//
// Who holds what. With g = lane / 4 and t = lane % 4:
//   A  x[0]: row g,     columns 2t, 2t + 1      x[2]: row g,     columns 2t + 8, 2t + 9
//      x[1]: row g + 8, columns 2t, 2t + 1      x[3]: row g + 8, columns 2t + 8, 2t + 9
//   B  x[0]: column g, rows 2t, 2t + 1          x[1]: column g, rows 2t + 8, 2t + 9
//   C  x[0], x[1]: row g, columns 2t, 2t + 1    x[2], x[3]: row g + 8, columns 2t, 2t + 1
// A 32-bit word holds two bf16, the lower index in the lower half. Two C side by side are, rounded, one A
// (as_operand): the result of a product is the left operand of the next without leaving the registers.
//
// Work: an mma is 4096 FLOP; a 16 × 16 load is 512 bytes of shared memory.
#pragma once

#include <cstdint>
#include <cstring>

#include "cuda/bfloat16.cuh"
#include "cuda/launch.cuh"
#ifndef __CUDACC__
#include "host_cuda/matrix_instructions.h"
#endif

namespace toller {

struct FragmentA {
  std::uint32_t x[4];
};
struct FragmentB {
  std::uint32_t x[2];
};
struct FragmentC {
  float x[4];
};

/// c += a b. The order of the sums is the hardware's own.
__device__ __forceinline__ void multiply_add(FragmentC& c, const FragmentA& a, const FragmentB& b) {
#ifdef __CUDACC__
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c.x[0]), "+f"(c.x[1]), "+f"(c.x[2]), "+f"(c.x[3])
      : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b.x[0]), "r"(b.x[1]));
#else
  host_cuda::mma_m16n8k16(c.x, a.x, b.x);
#endif
}

/// Four 8 × 8 matrices from shared memory. Lane 8 m + r passes the address of row r of matrix m (16 bytes,
/// aligned). x[m]: row g, columns 2t, 2t + 1 of matrix m.
__device__ __forceinline__ void load_matrices(std::uint32_t (&x)[4], const bfloat16* row) {
#ifdef __CUDACC__
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
#else
  host_cuda::load_matrices(x, row);
#endif
}

/// The same, transposed: x[m] holds column g, rows 2t, 2t + 1 of matrix m.
__device__ __forceinline__ void load_matrices_transposed(std::uint32_t (&x)[4], const bfloat16* row) {
#ifdef __CUDACC__
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
#else
  host_cuda::load_matrices_transposed(x, row);
#endif
}

/// Two floats rounded to bf16 (nearest, ties to even) in one word.
__device__ __forceinline__ std::uint32_t pack(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  std::uint32_t word;
  memcpy(&word, &pair, sizeof(word));
  return word;
}

/// Sum of the products of two words' elements.
__device__ __forceinline__ float dot_packed(std::uint32_t a, std::uint32_t b) {
  const float low = __uint_as_float(a << 16) * __uint_as_float(b << 16);
  return fmaf(__uint_as_float(a & 0xFFFF0000u), __uint_as_float(b & 0xFFFF0000u), low);
}

/// A [16, 16] from C's of its left and right half.
__device__ __forceinline__ FragmentA as_operand(const FragmentC& left, const FragmentC& right) {
  return {{pack(left.x[0], left.x[1]), pack(left.x[2], left.x[3]), pack(right.x[0], right.x[1]),
           pack(right.x[2], right.x[3])}};
}

/// A matrix [rows, kColumns] of bf16 in shared memory, kColumns = 32, 64 or 128. Rows lie one behind the
/// other; the 16-byte chunks of a row change places (XOR with the row's number), so that the eight rows of a
/// fragment's column come from different banks.
template <int kColumns>
struct SharedTile {
  static_assert(kColumns == 32 || kColumns == 64 || kColumns == 128);
  static constexpr int kChunks = kColumns / 8;

  bfloat16* data;

  /// Eight elements, columns [8 chunk, 8 chunk + 8).
  __device__ __forceinline__ bfloat16* chunk(int row, int chunk) const {
    const int place = kColumns == 32 ? chunk ^ (row >> 1 & 3) : chunk ^ (row & 7);
    return data + row * kColumns + 8 * place;
  }

  /// A: rows [row, row + 16), columns [column, column + 16).
  __device__ __forceinline__ FragmentA load_a(int row, int column) const {
    const int lane = threadIdx.x % 32;
    FragmentA a;
    load_matrices(a.x, chunk(row + lane % 16, column / 8 + lane / 16));
    return a;
  }

  /// B of two products, where this tile holds Bᵀ: column n of B is row `row + n`; B's rows are the columns
  /// [column, column + 16). b[0] has n = 0 … 7, b[1] n = 8 … 15.
  __device__ __forceinline__ void load_b_rows(int row, int column, FragmentB (&b)[2]) const {
    const int lane = threadIdx.x % 32;
    std::uint32_t x[4];
    load_matrices(x, chunk(row + lane % 8 + lane / 16 * 8, column / 8 + lane / 8 % 2));
    b[0] = {{x[0], x[1]}};
    b[1] = {{x[2], x[3]}};
  }

  /// B of two products, where this tile holds B: rows [row, row + 16), columns [column, column + 16).
  __device__ __forceinline__ void load_b_columns(int row, int column, FragmentB (&b)[2]) const {
    const int lane = threadIdx.x % 32;
    std::uint32_t x[4];
    load_matrices_transposed(x, chunk(row + lane % 16, column / 8 + lane / 16));
    b[0] = {{x[0], x[1]}};
    b[1] = {{x[2], x[3]}};
  }
};

/// s [16, kRows] = (rows [row, row + 16) of a) bᵀ, b [kRows, kColumns]. Rows of b from `used` on, rounded up
/// to 16, are left out; their s is 0.
template <int kColumns, int kRows>
__device__ __forceinline__ void multiply_transposed(SharedTile<kColumns> a, int row, SharedTile<kColumns> b,
                                                    int used, FragmentC (&s)[kRows]) {
#pragma unroll
  for (int n = 0; n < kRows; ++n) s[n] = {};
#pragma unroll
  for (int k = 0; k < kColumns; k += 16) {
    const FragmentA left = a.load_a(row, k);
#pragma unroll
    for (int n = 0; n < kRows; n += 2) {
      if (8 * n >= used) continue;
      FragmentB right[2];
      b.load_b_rows(8 * n, k, right);
      multiply_add(s[n], left, right[0]);
      multiply_add(s[n + 1], left, right[1]);
    }
  }
}

/// c [16, kColumns] += s b, s [16, 8 · kRows] rounded to bf16, b [8 · kRows, kColumns]. Rows of b from `used`
/// on, rounded up to 16, are left out.
template <int kColumns, int kRows>
__device__ __forceinline__ void multiply_add_rows(const FragmentC (&s)[kRows], SharedTile<kColumns> b,
                                                  int used, FragmentC (&c)[kColumns / 8]) {
#pragma unroll
  for (int k = 0; k < kRows; k += 2) {
    if (8 * k >= used) continue;
    const FragmentA left = as_operand(s[k], s[k + 1]);
#pragma unroll
    for (int n = 0; n < kColumns / 8; n += 2) {
      FragmentB right[2];
      b.load_b_columns(8 * k, 8 * n, right);
      multiply_add(c[n], left, right[0]);
      multiply_add(c[n + 1], left, right[1]);
    }
  }
}

}  // namespace toller
