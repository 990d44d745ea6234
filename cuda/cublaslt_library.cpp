#include "cuda/cublaslt_library.h"

#include <cuda_runtime.h>
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cuda/shared_library.h"

namespace toller {
namespace {

/// Newest first after the toolkit's own. The functions and attributes in use are the same in all of them.
std::vector<std::string> library_names() {
  std::vector<std::string> names;
  for (const int version : {CUBLAS_VER_MAJOR, 13, 12, 11}) {
    const std::string name = fmt::format("libcublasLt.so.{}", version);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  names.push_back("libcublasLt.so");
  return names;
}

}  // namespace

CublasLt load_cublaslt() {
  const SharedLibrary library(
      {"cuBLASLt", "TOLLER_CUBLASLT", library_names(), "install the cuBLAS of CUDA 11.4 or newer"});
  CublasLt functions;
  library.resolve(functions.create, "cublasLtCreate");
  library.resolve(functions.destroy, "cublasLtDestroy");
  library.resolve(functions.status_name, "cublasLtGetStatusName");
  library.resolve(functions.matmul, "cublasLtMatmul");
  library.resolve(functions.find_algorithms, "cublasLtMatmulAlgoGetHeuristic");
  library.resolve(functions.create_operation, "cublasLtMatmulDescCreate");
  library.resolve(functions.destroy_operation, "cublasLtMatmulDescDestroy");
  library.resolve(functions.set_operation, "cublasLtMatmulDescSetAttribute");
  library.resolve(functions.create_preference, "cublasLtMatmulPreferenceCreate");
  library.resolve(functions.destroy_preference, "cublasLtMatmulPreferenceDestroy");
  library.resolve(functions.set_preference, "cublasLtMatmulPreferenceSetAttribute");
  library.resolve(functions.create_layout, "cublasLtMatrixLayoutCreate");
  library.resolve(functions.destroy_layout, "cublasLtMatrixLayoutDestroy");
  return functions;
}

const CublasLt& cublaslt() {
#if defined(HOST_CUDA)
  static const CublasLt functions{cublasLtCreate,
                                  cublasLtDestroy,
                                  cublasLtGetStatusName,
                                  cublasLtMatmul,
                                  cublasLtMatmulAlgoGetHeuristic,
                                  cublasLtMatmulDescCreate,
                                  cublasLtMatmulDescDestroy,
                                  cublasLtMatmulDescSetAttribute,
                                  cublasLtMatmulPreferenceCreate,
                                  cublasLtMatmulPreferenceDestroy,
                                  cublasLtMatmulPreferenceSetAttribute,
                                  cublasLtMatrixLayoutCreate,
                                  cublasLtMatrixLayoutDestroy};
#else
  static const CublasLt functions = load_cublaslt();
#endif
  return functions;
}

}  // namespace toller
