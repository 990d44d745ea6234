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

__global__ void divide_kernel(const double* total, const double* count, double* result) {
  *result = *count == 0 ? 0 : *total / *count;
}

__global__ void add_scaled_number_kernel(double factor, const double* x, double* y) {
  *y += factor * *x;
}

__global__ void add_log_kernel(double factor, const double* x, double* y) {
  *y += factor * log(*x);
}

}  // namespace

void add_scalar(const double* x, double factor, float* y, cudaStream_t stream) {
  launch<add_scalar_kernel>(1, 1, 0, stream, x, factor, y);
}

void clamp_scalar(float low, float high, float* x, cudaStream_t stream) {
  launch<clamp_scalar_kernel>(1, 1, 0, stream, low, high, x);
}

void divide(const double* total, const double* count, double* result, cudaStream_t stream) {
  launch<divide_kernel>(1, 1, 0, stream, total, count, result);
}

void add_scaled_number(double factor, const double* x, double* y, cudaStream_t stream) {
  launch<add_scaled_number_kernel>(1, 1, 0, stream, factor, x, y);
}

void add_log(double factor, const double* x, double* y, cudaStream_t stream) {
  launch<add_log_kernel>(1, 1, 0, stream, factor, x, y);
}

}  // namespace toller
