// One thread, one number: a launch is all that they cost.
#include "cuda/scalars.cuh"

#include "cuda/launch.cuh"

namespace toller {
namespace {

__global__ void add_scalar_kernel(const double* x, double factor, float* y) {
  *y += static_cast<float>(factor * *x);
}

__global__ void clamp_scalar_kernel(float low, float high, float* x) {
  *x = *x < low ? low : (*x > high ? high : *x);
}

}  // namespace

void add_scalar(const double* x, double factor, float* y, cudaStream_t stream) {
  launch<add_scalar_kernel>(1, 1, 0, stream, x, factor, y);
}

void clamp_scalar(float low, float high, float* x, cudaStream_t stream) {
  launch<clamp_scalar_kernel>(1, 1, 0, stream, low, high, x);
}

}  // namespace toller
