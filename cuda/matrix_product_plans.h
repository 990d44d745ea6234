// What cuBLASLt needs for a product of a certain shape, made once and kept: part of matrix_product.cpp.
// Everything here is in cuBLASLt's terms: column-major, A m × k, B k × n, D m × n.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <unordered_map>

#include "cuda/cublaslt_library.h"

namespace toller {

/// All that the choice of an algorithm may depend on.
struct ProductShape {
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t lda = 0, ldb = 0, ldd = 0;
  cudaDataType_t input = CUDA_R_32F, output = CUDA_R_32F;
  bool transpose_a = false, transpose_b = false;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  std::uint32_t alignment_a = 0, alignment_b = 0, alignment_d = 0, alignment_bias = 0;

  bool operator==(const ProductShape&) const = default;
};

struct ProductShapeHash {
  std::size_t operator()(const ProductShape& shape) const;
};

/// The largest power of two up to 256, the most that cuBLASLt asks about, that divides the address.
std::uint32_t alignment_of(const void* pointer);

/// Destroys an object of cuBLASLt with one of CublasLt's functions.
template <auto Function>
struct CublasLtDelete {
  template <class Object>
  void operator()(Object* object) const {
    (cublaslt().*Function)(object);
  }
};
template <class Handle, auto Destroy>
using CublasLtObject = std::unique_ptr<std::remove_pointer_t<Handle>, CublasLtDelete<Destroy>>;
using CublasLtHandle = CublasLtObject<cublasLtHandle_t, &CublasLt::destroy>;
using CublasLtLayout = CublasLtObject<cublasLtMatrixLayout_t, &CublasLt::destroy_layout>;
using CublasLtOperation = CublasLtObject<cublasLtMatmulDesc_t, &CublasLt::destroy_operation>;
using CublasLtPreference = CublasLtObject<cublasLtMatmulPreference_t, &CublasLt::destroy_preference>;

struct ProductPlan {
  CublasLtOperation operation;
  CublasLtLayout a, b, d;
  cublasLtMatmulAlgo_t algorithm{};
  cublasStatus_t refusal = CUBLAS_STATUS_SUCCESS;  ///< the heuristic's answer where there is no algorithm
  std::uint64_t last_use = 0;
};

/// Plans by shape, at most `limit`; the one that was not used for longest goes first.
class ProductPlans {
 public:
  ProductPlans(std::size_t workspace_bytes, std::size_t limit);

  cublasLtHandle_t handle() const { return handle_.get(); }
  std::size_t size() const { return plans_.size(); }

  /// The plan, valid until the next call. `bias` is where the epilogue's vector will be (its alignment
  /// counts), null where there is none. Throws Error when cuBLASLt fails.
  const ProductPlan& find(const ProductShape& shape, const void* bias);

 private:
  ProductPlan make(const ProductShape& shape, const void* bias) const;
  CublasLtPreference make_preference(const ProductShape& shape) const;
  void drop_oldest();

  CublasLtHandle handle_;
  std::size_t workspace_bytes_, limit_;
  std::uint64_t uses_ = 0;
  std::unordered_map<ProductShape, ProductPlan, ProductShapeHash> plans_;
};

}  // namespace toller
