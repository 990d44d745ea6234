#include "cuda/cublaslt_library.h"

#include <cuda_runtime.h>
#include <dlfcn.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "error.h"

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

std::vector<std::string> cuda_folders() {
  std::vector<std::string> folders;
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const char* folder = std::getenv(variable); folder != nullptr && *folder != '\0')
      folders.push_back(folder);
  }
  folders.push_back("/usr/local/cuda");
  return folders;
}

/// Where the library is looked for: on the loader's path, then in the CUDA folders.
std::vector<std::string> library_files() {
  const std::vector<std::string> names = library_names();
  std::vector<std::string> files = names;
  for (const std::string& folder : cuda_folders()) {
    for (const char* part : {"lib64", "lib"}) {
      for (const std::string& name : names) files.push_back(fmt::format("{}/{}/{}", folder, part, name));
    }
  }
  return files;
}

void* open_library(std::string& file) {
  if (const char* named = std::getenv("TOLLER_CUBLASLT"); named != nullptr && *named != '\0') {
    file = named;
    if (void* library = dlopen(named, RTLD_NOW | RTLD_LOCAL)) return library;
    fail("cuBLASLt was not found (looked for {}, which TOLLER_CUBLASLT names): {}", named, dlerror());
  }
  const std::vector<std::string> files = library_files();
  for (const std::string& candidate : files) {
    file = candidate;
    if (void* library = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  }
  fail(
      "cuBLASLt was not found (looked for {}): install the CUDA toolkit's cuBLAS, or set TOLLER_CUBLASLT to "
      "its libcublasLt.so",
      fmt::join(files, ", "));
}

}  // namespace

CublasLt load_cublaslt() {
  std::string file;
  void* library = open_library(file);
  const auto resolve = [&](auto& function, const char* name) {
    void* symbol = dlsym(library, name);
    if (symbol == nullptr) {
      dlclose(library);
      fail("{} has no function {}: set TOLLER_CUBLASLT to the libcublasLt.so of CUDA 11.4 or newer", file,
           name);
    }
    function = reinterpret_cast<std::decay_t<decltype(function)>>(symbol);
  };
  CublasLt functions;
  resolve(functions.create, "cublasLtCreate");
  resolve(functions.destroy, "cublasLtDestroy");
  resolve(functions.status_name, "cublasLtGetStatusName");
  resolve(functions.matmul, "cublasLtMatmul");
  resolve(functions.find_algorithms, "cublasLtMatmulAlgoGetHeuristic");
  resolve(functions.create_operation, "cublasLtMatmulDescCreate");
  resolve(functions.destroy_operation, "cublasLtMatmulDescDestroy");
  resolve(functions.set_operation, "cublasLtMatmulDescSetAttribute");
  resolve(functions.create_preference, "cublasLtMatmulPreferenceCreate");
  resolve(functions.destroy_preference, "cublasLtMatmulPreferenceDestroy");
  resolve(functions.set_preference, "cublasLtMatmulPreferenceSetAttribute");
  resolve(functions.create_layout, "cublasLtMatrixLayoutCreate");
  resolve(functions.destroy_layout, "cublasLtMatrixLayoutDestroy");
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
