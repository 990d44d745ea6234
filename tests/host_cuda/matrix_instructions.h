// The instructions behind cuda/fragment.cuh on the host: mma.sync.m16n8k16 and ldmatrix as steps of a whole
// warp on the register layouts of the PTX manual. Products of bf16 are exact in fp32; sums are kept in fp64
// and rounded once, where the hardware sums in fp32 in an order of its own.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <source_location>

#include "host_cuda/execution.h"

namespace host_cuda {

inline float bf16_value(std::uint32_t bits) {
  return std::bit_cast<float>(bits << 16);
}

struct MatrixProduct {
  float* c;
  const std::uint32_t* a;
  const std::uint32_t* b;
};

inline void complete_mma(void* const* payloads, unsigned) {
  float a[16][16], b[8][16];  // b transposed
  for (int lane = 0; lane < 32; ++lane) {
    const auto& registers = *static_cast<const MatrixProduct*>(payloads[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int half = 0; half < 2; ++half) {
      const auto element = [half](std::uint32_t word) { return bf16_value(word >> 16 * half & 0xFFFFu); };
      for (int i = 0; i < 4; ++i) a[g + i % 2 * 8][2 * t + half + i / 2 * 8] = element(registers.a[i]);
      for (int i = 0; i < 2; ++i) b[g][2 * t + half + i * 8] = element(registers.b[i]);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    float* c = static_cast<const MatrixProduct*>(payloads[lane])->c;
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      double sum = c[i];
      for (int k = 0; k < 16; ++k) sum += static_cast<double>(a[row][k]) * b[column][k];
      c[i] = static_cast<float>(sum);
    }
  }
}

inline void mma_m16n8k16(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                         const std::source_location& where = std::source_location::current()) {
  MatrixProduct registers{c, a, b};
  warp_collective(0xFFFFFFFFu, &registers, complete_mma, "mma.sync", where);
}

struct MatrixLoad {
  std::uint32_t* x;
  const void* row;
};

template <bool kTransposed>
void complete_load(void* const* payloads, unsigned) {
  for (int matrix = 0; matrix < 4; ++matrix) {
    std::uint16_t element[8][8];
    for (int row = 0; row < 8; ++row) {
      std::memcpy(element[row], static_cast<const MatrixLoad*>(payloads[8 * matrix + row])->row, 16);
    }
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = lane % 4;
      const std::uint32_t low = kTransposed ? element[2 * t][g] : element[g][2 * t];
      const std::uint32_t high = kTransposed ? element[2 * t + 1][g] : element[g][2 * t + 1];
      static_cast<const MatrixLoad*>(payloads[lane])->x[matrix] = low | high << 16;
    }
  }
}

template <bool kTransposed>
void load(std::uint32_t* x, const void* row, const char* name, const std::source_location& where) {
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) {
    fail_in_kernel(std::string(name) + " of a row that is not aligned to 16 bytes", where);
  }
  MatrixLoad registers{x, row};
  warp_collective(0xFFFFFFFFu, &registers, complete_load<kTransposed>, name, where);
}

inline void load_matrices(std::uint32_t (&x)[4], const void* row,
                          const std::source_location& where = std::source_location::current()) {
  load<false>(x, row, "ldmatrix", where);
}
inline void load_matrices_transposed(std::uint32_t (&x)[4], const void* row,
                                     const std::source_location& where = std::source_location::current()) {
  load<true>(x, row, "ldmatrix.trans", where);
}

}  // namespace host_cuda
