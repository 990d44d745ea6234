#include "cuda/matrix_product_plans.h"

#include <algorithm>

#include "error.h"

namespace toller {
namespace {

void check_status(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) fail("{}: {}", call, cublaslt().status_name(status));
}

CublasLtHandle make_handle() {
  cublasLtHandle_t handle = nullptr;
  check_status(cublaslt().create(&handle), "cublasLtCreate");
  return CublasLtHandle(handle);
}

CublasLtLayout make_layout(cudaDataType_t type, std::int64_t rows, std::int64_t columns, bool transposed,
                           std::int64_t ld) {
  if (transposed) std::swap(rows, columns);
  cublasLtMatrixLayout_t layout = nullptr;
  check_status(cublaslt().create_layout(&layout, type, static_cast<std::uint64_t>(rows),
                                        static_cast<std::uint64_t>(columns), ld),
               "cublasLtMatrixLayoutCreate");
  return CublasLtLayout(layout);
}

CublasLtOperation make_operation(const ProductShape& shape, const void* bias) {
  cublasLtMatmulDesc_t descriptor = nullptr;
  check_status(cublaslt().create_operation(&descriptor, CUBLAS_COMPUTE_32F, CUDA_R_32F),
               "cublasLtMatmulDescCreate");
  CublasLtOperation operation(descriptor);
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
    check_status(cublaslt().set_operation(descriptor, attribute, &value, sizeof value),
                 "cublasLtMatmulDescSetAttribute");
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, shape.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(CUBLASLT_MATMUL_DESC_TRANSB, shape.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, shape.epilogue);
  if (bias != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  return operation;
}

}  // namespace

std::size_t ProductShapeHash::operator()(const ProductShape& shape) const {
  std::uint64_t hash = 0;
  const auto add = [&](auto value) {
    hash = (hash ^ static_cast<std::uint64_t>(value)) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
  };
  for (const std::int64_t value : {shape.m, shape.n, shape.k, shape.lda, shape.ldb, shape.ldd}) add(value);
  for (const int value :
       {static_cast<int>(shape.input), static_cast<int>(shape.output), static_cast<int>(shape.epilogue),
        static_cast<int>(shape.transpose_a), static_cast<int>(shape.transpose_b)})
    add(value);
  for (const std::uint32_t value :
       {shape.alignment_a, shape.alignment_b, shape.alignment_d, shape.alignment_bias})
    add(value);
  return static_cast<std::size_t>(hash);
}

std::uint32_t alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer) | 256;
  return static_cast<std::uint32_t>(address & -address);
}

ProductPlans::ProductPlans(std::size_t workspace_bytes, std::size_t limit)
    : handle_(make_handle()), workspace_bytes_(workspace_bytes), limit_(limit) {}

const ProductPlan& ProductPlans::find(const ProductShape& shape, const void* bias) {
  auto found = plans_.find(shape);
  if (found == plans_.end()) {
    ProductPlan plan = make(shape, bias);
    if (plans_.size() >= limit_) drop_oldest();
    found = plans_.emplace(shape, std::move(plan)).first;
  }
  found->second.last_use = ++uses_;
  return found->second;
}

void ProductPlans::drop_oldest() {
  plans_.erase(std::min_element(plans_.begin(), plans_.end(), [](const auto& a, const auto& b) {
    return a.second.last_use < b.second.last_use;
  }));
}

CublasLtPreference ProductPlans::make_preference(const ProductShape& shape) const {
  cublasLtMatmulPreference_t made = nullptr;
  check_status(cublaslt().create_preference(&made), "cublasLtMatmulPreferenceCreate");
  CublasLtPreference preference(made);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check_status(cublaslt().set_preference(made, attribute, &value, sizeof value),
                 "cublasLtMatmulPreferenceSetAttribute");
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{workspace_bytes_});
  // Sums in parts only as matrix_product.h says; sums in one part are in NONE, which is 0 and always allowed.
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      std::uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, shape.alignment_a);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, shape.alignment_b);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, shape.alignment_d);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, shape.alignment_d);
  return preference;
}

ProductPlan ProductPlans::make(const ProductShape& shape, const void* bias) const {
  ProductPlan plan;
  plan.operation = make_operation(shape, bias);
  plan.a = make_layout(shape.input, shape.m, shape.k, shape.transpose_a, shape.lda);
  plan.b = make_layout(shape.input, shape.k, shape.n, shape.transpose_b, shape.ldb);
  plan.d = make_layout(shape.output, shape.m, shape.n, false, shape.ldd);
  const CublasLtPreference preference = make_preference(shape);
  cublasLtMatmulHeuristicResult_t result{};
  int found = 0;
  plan.refusal = cublaslt().find_algorithms(handle(), plan.operation.get(), plan.a.get(), plan.b.get(),
                                            plan.d.get(), plan.d.get(), preference.get(), 1, &result, &found);
  if (plan.refusal != CUBLAS_STATUS_SUCCESS) return plan;
  plan.refusal = found == 0 ? CUBLAS_STATUS_NOT_SUPPORTED : result.state;
  plan.algorithm = result.algo;
  return plan;
}

}  // namespace toller
