// Squared norm: 4 bytes and a multiplication and an addition in double an element.
// AdamW with decoupled decay (Loshchilov & Hutter, ICLR 2019), g the scaled gradient:
//   m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²
//   p ← p (1 − η λ) − η / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε)
//   bytes an element: reads p, g, m, v; writes p, m, v: 28, and 2 for the bfloat16 copy. About 15 operations.
// One launch for the whole buffer: tiles never cross a change of the weight decay.
#include "cuda/optimizer.cuh"

#include <cmath>

#include "cuda/launch.cuh"
#include "cuda/reduce.cuh"

namespace toller {
namespace {

constexpr int kThreads = 256;
/// Blocks of the squared norm at most; the number does not depend on the device, so that neither do the bits.
constexpr std::int64_t kNormBlocks = 1056;
constexpr std::int64_t kNormBlockElements = 8192;

std::int64_t norm_blocks(std::int64_t n) {
  const std::int64_t blocks = (n + kNormBlockElements - 1) / kNormBlockElements;
  return blocks < kNormBlocks ? blocks : kNormBlocks;
}

template <int V>
__global__ void __launch_bounds__(kThreads) squares_kernel(std::int64_t n, const float* x, double* partial) {
  double sum = 0;
  const std::int64_t stride = std::int64_t{gridDim.x} * kThreads * V;
#pragma unroll 4
  for (std::int64_t at = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) * V; at < n; at += stride) {
    float values[V];
    if (at + V <= n) {
      load(x + at, values);
    } else {
#pragma unroll
      for (int i = 0; i < V; ++i) values[i] = at + i < n ? x[at + i] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < V; ++i) sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  }
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads)
    add_squares_kernel(int parts, const double* partial, double* result) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < parts; i += kThreads) sum += partial[i];
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) *result = sum;
}

/// Elements of a tile: 8 of each thread of a block.
constexpr std::int32_t kTile = 8 * kThreads;

/// The numbers of a step in the precision that the kernel calculates in.
struct AdamWNumbers {
  float beta1, beta2, rest1, rest2, rate, inverse_root, shrink, epsilon;
};

AdamWNumbers adamw_numbers(const AdamWStep& step) {
  const double correction1 = 1 - std::pow(step.beta1, static_cast<double>(step.step));
  const double correction2 = 1 - std::pow(step.beta2, static_cast<double>(step.step));
  return {.beta1 = static_cast<float>(step.beta1),
          .beta2 = static_cast<float>(step.beta2),
          .rest1 = static_cast<float>(1 - step.beta1),
          .rest2 = static_cast<float>(1 - step.beta2),
          .rate = static_cast<float>(step.learning_rate / correction1),
          .inverse_root = static_cast<float>(1 / std::sqrt(correction2)),
          .shrink = static_cast<float>(1 - step.learning_rate * step.weight_decay),
          .epsilon = static_cast<float>(step.epsilon)};
}

struct AdamW {
  const AdamWTile* tile;
  const float* gradient;
  AdamWNumbers numbers;
  GradientClip clip;
  float *parameter, *m, *v;
  bfloat16* copy;
  bool vectors;  ///< all arrays begin at multiples of 16 bytes (the copy: 8)
};

/// V elements from `at` on.
template <int V>
__device__ __forceinline__ void adamw_update(const AdamW& p, std::int64_t at, float scale, float shrink) {
  const AdamWNumbers& k = p.numbers;
  float g[V], m[V], v[V], w[V];
  load(p.gradient + at, g);
  load(p.m + at, m);
  load(p.v + at, v);
  load(p.parameter + at, w);
#pragma unroll
  for (int i = 0; i < V; ++i) {
    g[i] *= scale;
    m[i] = k.beta1 * m[i] + k.rest1 * g[i];
    v[i] = k.beta2 * v[i] + k.rest2 * g[i] * g[i];
    w[i] = w[i] * shrink - k.rate * m[i] / (sqrtf(v[i]) * k.inverse_root + k.epsilon);
  }
  store(p.m + at, m);
  store(p.v + at, v);
  store(p.parameter + at, w);
  if (p.copy != nullptr) store(p.copy + at, w);
}

__global__ void __launch_bounds__(kThreads) adamw_kernel(AdamW p) {
  double scale = 1;
  if (p.clip.squared_norm != nullptr) {
    const double norm = sqrt(*p.clip.squared_norm);
    if (!(norm < INFINITY)) return;
    if (p.clip.clip_norm > 0 && norm > p.clip.clip_norm) scale *= p.clip.clip_norm / norm;
  }
  const AdamWTile tile = p.tile[blockIdx.x];
  const auto factor = static_cast<float>(scale);
  const float shrink = tile.decay != 0 ? p.numbers.shrink : 1.0f;
  const std::int64_t end = tile.begin + tile.size;
  constexpr int V = 4;
  const std::int64_t whole = p.vectors && tile.begin % V == 0 ? tile.size / V * V : 0;
#pragma unroll 2
  for (std::int64_t i = std::int64_t{threadIdx.x} * V; i < whole; i += kThreads * V) {
    adamw_update<V>(p, tile.begin + i, factor, shrink);
  }
  for (std::int64_t at = tile.begin + whole + threadIdx.x; at < end; at += kThreads) {
    adamw_update<1>(p, at, factor, shrink);
  }
}

}  // namespace

std::int64_t squared_norm_workspace(std::int64_t n) {
  return norm_blocks(n);
}

void squared_norm(std::int64_t n, const float* x, double* result, double* workspace, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(norm_blocks(n));
  if (blocks > 0) {
    if (reinterpret_cast<std::uintptr_t>(x) % 16 == 0) {
      launch<squares_kernel<4>>(blocks, kThreads, 0, stream, n, x, workspace);
    } else {
      launch<squares_kernel<1>>(blocks, kThreads, 0, stream, n, x, workspace);
    }
  }
  launch<add_squares_kernel>(1, kThreads, 0, stream, static_cast<int>(blocks), workspace, result);
}

std::vector<AdamWTile> make_adamw_tiles(std::span<const DecaySlice> slices) {
  std::vector<AdamWTile> tiles;
  for (const DecaySlice& slice : slices) {
    for (std::int64_t done = 0; done < slice.size;) {
      // A slice that begins anywhere is brought to a multiple of 4 by a short first tile.
      const std::int64_t begin = slice.offset + done, to_aligned = (4 - begin % 4) % 4;
      const std::int64_t limit = to_aligned != 0 ? to_aligned : kTile;
      const std::int64_t size = slice.size - done < limit ? slice.size - done : limit;
      tiles.push_back({begin, static_cast<std::int32_t>(size), slice.decay ? 1 : 0});
      done += size;
    }
  }
  return tiles;
}

void adamw(std::int64_t tiles, const AdamWTile* tile, const float* gradient, const AdamWStep& step,
           const GradientClip& clip, float* parameter, float* m, float* v, bfloat16* copy,
           cudaStream_t stream) {
  if (tiles == 0) return;
  const auto address = [](const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); };
  const bool vectors = address(gradient) % 16 == 0 && address(parameter) % 16 == 0 && address(m) % 16 == 0 &&
                       address(v) % 16 == 0 && address(copy) % 8 == 0;
  const AdamW p{tile, gradient, adamw_numbers(step), clip, parameter, m, v, copy, vectors};
  launch<adamw_kernel>(static_cast<unsigned>(tiles), kThreads, 0, stream, p);
}

}  // namespace toller
