#include "launch.cuh"

#include "error.h"

namespace toller {

std::string kernel_name(std::string text) {
  const std::string key = "Kernel = ";
  const std::size_t begin = text.find(key);
  if (begin == std::string::npos) return text;
  text = text.substr(begin + key.size());
  return text.substr(0, text.find_first_of(";]"));
}

void fail_cuda(const char* call, cudaError_t error) {
  cudaGetLastError();  // told, and so not the next call's
  fail("{}: {} ({})", kernel_name(call), cudaGetErrorString(error), cudaGetErrorName(error));
}

void fail_size(const char* what, std::int64_t size, std::int64_t limit) {
  fail("{} is {}; the CUDA backend takes it up to {}", what, size, limit);
}

}  // namespace toller
