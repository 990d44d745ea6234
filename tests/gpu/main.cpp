// The tests of tests/cuda on a GPU. Without one they fail at once, and say why.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstdio>

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  if (GTEST_FLAG_GET(list_tests)) return RUN_ALL_TESTS();
  int gpus = 0;
  const cudaError_t error = cudaGetDeviceCount(&gpus);
  cudaDeviceProp properties{};
  if (error != cudaSuccess || gpus == 0 || cudaGetDeviceProperties(&properties, 0) != cudaSuccess) {
    std::fprintf(stderr,
                 "%s: no GPU can be used: %s; test_cuda and test_cuda_step run the same kernels on the CPU\n",
                 arguments[0], error == cudaSuccess ? "this machine has none" : cudaGetErrorString(error));
    return 1;
  }
  std::printf("%d GPUs; the first is %s, compute capability %d.%d\n", gpus, properties.name, properties.major,
              properties.minor);
  return RUN_ALL_TESTS();
}
