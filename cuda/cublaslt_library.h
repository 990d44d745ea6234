// cuBLASLt, loaded when it is first used: the program starts on machines that do not have it.
#pragma once

#include <cublasLt.h>

namespace toller {

/// The functions in use.
struct CublasLt {
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtGetStatusName) status_name = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) find_algorithms = nullptr;
  decltype(&cublasLtMatmulDescCreate) create_operation = nullptr;
  decltype(&cublasLtMatmulDescDestroy) destroy_operation = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) set_operation = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) create_preference = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) destroy_preference = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) create_layout = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) destroy_layout = nullptr;
};

/// Opens the library: the file that the environment variable TOLLER_CUBLASLT names, else by its names (that
/// of the toolkit Toller was built with first) on the loader's path and in the CUDA folder (CUDA_HOME,
/// CUDA_PATH, /usr/local/cuda). Throws Error that says where it looked, or which function a library lacks.
CublasLt load_cublaslt();

/// The library of this process, loaded by the first call.
const CublasLt& cublaslt();

}  // namespace toller
