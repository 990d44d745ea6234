// cuBLASLt on the CPU: D = alpha · op(A) op(B) + beta · C, then the epilogue, all column-major; sums in
// float, one rounding to D's type at the end.
#include "cublasLt.h"

#include <cuda_bf16.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "host_cuda/execution.h"

struct cublasLtContext {};
struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType_t type;
  std::int64_t rows, columns, ld;
};
struct cublasLtMatmulDescOpaque_t {
  cublasComputeType_t compute_type;
  cudaDataType_t scale_type;
  cublasOperation_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  void* bias = nullptr;
  std::int32_t bias_type = -1;  ///< −1: D's type
};
struct cublasLtMatmulPreferenceOpaque_t {
  std::uint64_t workspace_bytes = 0;
  std::uint32_t reduction_schemes = CUBLASLT_REDUCTION_SCHEME_MASK;
  std::uint32_t alignment_a = 256, alignment_b = 256, alignment_c = 256, alignment_d = 256;
};

namespace {

std::atomic<std::int64_t> objects = 0, heuristics = 0, products = 0;

/// Sums longer than this are made in two parts where the preferences allow it.
constexpr std::int64_t kLongSum = 256;
constexpr std::uint64_t kGradientAlignment = 16;

/// The problem that a descriptor and four layouts say.
struct Problem {
  const cublasLtMatmulDescOpaque_t* operation;
  const cublasLtMatrixLayoutOpaque_t *a, *b, *c, *d;
  std::int64_t m, n, k;

  bool bias_gradient() const {
    return operation->epilogue == CUBLASLT_EPILOGUE_BGRADA || operation->epilogue == CUBLASLT_EPILOGUE_BGRADB;
  }
  bool reads_bias() const { return operation->epilogue == CUBLASLT_EPILOGUE_BIAS; }
  std::int64_t bias_size() const { return operation->epilogue == CUBLASLT_EPILOGUE_BGRADB ? n : m; }
};

/// What lies in cublasLtMatmulAlgo_t: how the sum is made, and what the problem must be like.
struct Algorithm {
  std::int32_t parts;
  std::uint32_t alignment_a, alignment_b, alignment_c, alignment_d, alignment_bias;
  std::int64_t m, n, k;
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

std::int64_t element_bytes(cudaDataType_t type) {
  return type == CUDA_R_16BF ? 2 : type == CUDA_R_32F ? 4 : 8;
}

std::uint32_t alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  return address == 0 ? 256 : static_cast<std::uint32_t>(std::min<std::uintptr_t>(address & -address, 256));
}

bool is_valid(const cublasLtMatrixLayoutOpaque_t& layout) {
  return layout.rows > 0 && layout.columns > 0 && layout.ld >= layout.rows;
}

cublasStatus_t check_sizes(const Problem& problem) {
  const auto& [operation, a, b, c, d, m, n, k] = problem;
  for (const auto* layout : {a, b, c, d}) {
    if (!is_valid(*layout)) return CUBLAS_STATUS_INVALID_VALUE;
  }
  const bool a_fits = operation->transpose_a == CUBLAS_OP_N ? a->rows == m : a->columns == m;
  const bool b_fits = operation->transpose_b == CUBLAS_OP_N ? b->rows == k && b->columns == n
                                                            : b->columns == k && b->rows == n;
  const bool c_fits = c->rows == m && c->columns == n;
  return a_fits && b_fits && c_fits ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t check_types(const Problem& problem) {
  const auto& [operation, a, b, c, d, m, n, k] = problem;
  if (operation->compute_type != CUBLAS_COMPUTE_32F || operation->scale_type != CUDA_R_32F)
    return CUBLAS_STATUS_NOT_SUPPORTED;
  const bool floats = a->type == CUDA_R_32F && d->type == CUDA_R_32F;
  const bool halves = a->type == CUDA_R_16BF && (d->type == CUDA_R_16BF || d->type == CUDA_R_32F);
  if (!(floats || halves) || a->type != b->type || c->type != d->type) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (operation->epilogue == CUBLASLT_EPILOGUE_DEFAULT) return CUBLAS_STATUS_SUCCESS;
  if (!problem.reads_bias() && !problem.bias_gradient()) return CUBLAS_STATUS_NOT_SUPPORTED;
  return operation->bias_type == -1 || operation->bias_type == d->type ? CUBLAS_STATUS_SUCCESS
                                                                       : CUBLAS_STATUS_NOT_SUPPORTED;
}

/// Are the columns of the matrix that bias gradients are made from aligned as their algorithms ask?
bool gradient_is_aligned(const cublasLtMatrixLayoutOpaque_t& layout, std::uint32_t alignment) {
  return alignment >= kGradientAlignment &&
         static_cast<std::uint64_t>(layout.ld * element_bytes(layout.type)) % kGradientAlignment == 0;
}

Problem problem_of(cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                   cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d) {
  const std::int64_t k = operation->transpose_a == CUBLAS_OP_N ? a->columns : a->rows;
  return {operation, a, b, c, d, d->rows, d->columns, k};
}

cublasStatus_t check_problem(const Problem& problem) {
  const cublasStatus_t sizes = check_sizes(problem);
  return sizes == CUBLAS_STATUS_SUCCESS ? check_types(problem) : sizes;
}

std::size_t workspace_bytes(const Algorithm& algorithm) {
  if (algorithm.parts == 1) return 0;
  return static_cast<std::size_t>(algorithm.parts * algorithm.m * algorithm.n) * sizeof(float);
}

Algorithm choose_algorithm(const Problem& problem, const cublasLtMatmulPreferenceOpaque_t& preference) {
  Algorithm algorithm{2,
                      preference.alignment_a,
                      preference.alignment_b,
                      preference.alignment_c,
                      preference.alignment_d,
                      alignment_of(problem.operation->bias),
                      problem.m,
                      problem.n,
                      problem.k};
  const bool allowed = (preference.reduction_schemes & CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE) != 0;
  if (!allowed || problem.k <= kLongSum || workspace_bytes(algorithm) > preference.workspace_bytes)
    algorithm.parts = 1;
  return algorithm;
}

/// Is it the algorithm that was chosen for this problem, with memory no less aligned than was said then?
bool fits(const Algorithm& algorithm, const Problem& problem, const void* a, const void* b, const void* c,
          const void* d) {
  return algorithm.parts >= 1 && algorithm.m == problem.m && algorithm.n == problem.n &&
         algorithm.k == problem.k && alignment_of(a) >= algorithm.alignment_a &&
         alignment_of(b) >= algorithm.alignment_b && alignment_of(c) >= algorithm.alignment_c &&
         alignment_of(d) >= algorithm.alignment_d &&
         alignment_of(problem.operation->bias) >= algorithm.alignment_bias;
}

void check_range(const char* what, const void* memory, std::int64_t bytes, const std::string& shape) {
  if (host_cuda::is_device_range(memory, static_cast<std::size_t>(bytes))) return;
  throw host_cuda::Error(
      fmt::format("cublasLtMatmul: {} ({}) takes {} bytes from {}, which are not all in one allocation of "
                  "device memory",
                  what, shape, bytes, memory));
}

void check_matrix(const char* what, const void* memory, const cublasLtMatrixLayoutOpaque_t& layout) {
  const std::int64_t elements = (layout.columns - 1) * layout.ld + layout.rows;
  check_range(what, memory, elements * element_bytes(layout.type),
              fmt::format("{} × {}, leading dimension {}", layout.rows, layout.columns, layout.ld));
}

void check_memory(const Problem& problem, const void* a, const void* b, const void* c, const void* d,
                  float beta) {
  check_matrix("A", a, *problem.a);
  check_matrix("B", b, *problem.b);
  if (beta != 0) check_matrix("C", c, *problem.c);
  check_matrix("D", d, *problem.d);
  if (problem.operation->epilogue == CUBLASLT_EPILOGUE_DEFAULT) return;
  check_range("the bias vector", problem.operation->bias,
              problem.bias_size() * element_bytes(problem.d->type),
              fmt::format("{} elements", problem.bias_size()));
}

float element(cudaDataType_t type, const void* memory, std::int64_t place) {
  if (type == CUDA_R_32F) return static_cast<const float*>(memory)[place];
  return __bfloat162float(static_cast<const __nv_bfloat16*>(memory)[place]);
}

void set_element(cudaDataType_t type, void* memory, std::int64_t place, float value) {
  if (type == CUDA_R_32F) {
    static_cast<float*>(memory)[place] = value;
  } else {
    static_cast<__nv_bfloat16*>(memory)[place] = __float2bfloat16_rn(value);
  }
}

/// The product's tiles: sums of kTileM × kTileN elements stay in registers.
constexpr std::int64_t kTileM = 32, kTileN = 4;

/// op(matrix) as floats in panels of `width` lines (its rows, or its columns when `by_column`), padded with
/// zeros: element (line l, place p) lies at [l / width][p][l % width].
std::vector<float> pack(const cublasLtMatrixLayoutOpaque_t& layout, const void* memory, bool by_column,
                        std::int64_t width) {
  const std::int64_t lines = by_column ? layout.columns : layout.rows;
  const std::int64_t length = by_column ? layout.rows : layout.columns;
  std::vector<float> packed(static_cast<std::size_t>((lines + width - 1) / width * width * length));
  for (std::int64_t column = 0; column < layout.columns; ++column) {
    for (std::int64_t row = 0; row < layout.rows; ++row) {
      const std::int64_t line = by_column ? column : row, place = by_column ? row : column;
      packed[static_cast<std::size_t>((line / width * length + place) * width + line % width)] =
          element(layout.type, memory, column * layout.ld + row);
    }
  }
  return packed;
}

/// sums [kTileN][kTileM] = the products of two panels over places [0, k).
void multiply_panels(std::int64_t k, const float* a, const float* b, float (&sums)[kTileN][kTileM]) {
  float tile[kTileN][kTileM] = {};
  for (std::int64_t p = 0; p < k; ++p) {
    for (int j = 0; j < kTileN; ++j) {
      for (int i = 0; i < kTileM; ++i) tile[j][i] += a[p * kTileM + i] * b[p * kTileN + j];
    }
  }
  std::memcpy(sums, tile, sizeof tile);
}

/// sums [n][m] = op(A) op(B) over places [begin, end) of k, column-major and dense.
void multiply(const Problem& problem, const std::vector<float>& a, const std::vector<float>& b,
              std::int64_t begin, std::int64_t end, float* sums) {
  const std::int64_t m = problem.m, n = problem.n, k = problem.k;
  for (std::int64_t column = 0; column < n; column += kTileN) {
    for (std::int64_t row = 0; row < m; row += kTileM) {
      float tile[kTileN][kTileM];
      multiply_panels(end - begin, a.data() + row * k + begin * kTileM,
                      b.data() + column * k + begin * kTileN, tile);
      for (std::int64_t j = 0; j < std::min(kTileN, n - column); ++j)
        std::copy_n(tile[j], std::min(kTileM, m - row), sums + (column + j) * m + row);
    }
  }
}

/// The product by the algorithm; `workspace` holds the parts of its sums.
std::vector<float> product(const Problem& problem, const Algorithm& algorithm, const void* a, const void* b,
                           float* workspace) {
  const auto packed_a = pack(*problem.a, a, problem.operation->transpose_a != CUBLAS_OP_N, kTileM);
  const auto packed_b = pack(*problem.b, b, problem.operation->transpose_b == CUBLAS_OP_N, kTileN);
  const std::int64_t size = problem.m * problem.n;
  std::vector<float> sums(static_cast<std::size_t>(size));
  if (algorithm.parts == 1) {
    multiply(problem, packed_a, packed_b, 0, problem.k, sums.data());
    return sums;
  }
  for (std::int64_t part = 0; part < algorithm.parts; ++part) {
    multiply(problem, packed_a, packed_b, problem.k * part / algorithm.parts,
             problem.k * (part + 1) / algorithm.parts, workspace + part * size);
    for (std::int64_t i = 0; i < size; ++i) sums[static_cast<std::size_t>(i)] += workspace[part * size + i];
  }
  return sums;
}

void write_result(const Problem& problem, const std::vector<float>& sums, float alpha, float beta,
                  const void* c, void* d) {
  for (std::int64_t column = 0; column < problem.n; ++column) {
    for (std::int64_t row = 0; row < problem.m; ++row) {
      float value = alpha * sums[static_cast<std::size_t>(column * problem.m + row)];
      if (beta != 0) value += beta * element(problem.c->type, c, column * problem.c->ld + row);
      if (problem.reads_bias()) value += element(problem.d->type, problem.operation->bias, row);
      set_element(problem.d->type, d, column * problem.d->ld + row, value);
    }
  }
}

/// BGRADA: bias [m] = Σ_k op(A); BGRADB: bias [n] = Σ_k op(B).
void write_bias_gradient(const Problem& problem, const void* a, const void* b) {
  const bool of_a = problem.operation->epilogue == CUBLASLT_EPILOGUE_BGRADA;
  const auto& layout = of_a ? *problem.a : *problem.b;
  const void* memory = of_a ? a : b;
  const bool by_column =
      of_a ? problem.operation->transpose_a != CUBLAS_OP_N : problem.operation->transpose_b == CUBLAS_OP_N;
  for (std::int64_t line = 0; line < problem.bias_size(); ++line) {
    float sum = 0;
    for (std::int64_t p = 0; p < problem.k; ++p)
      sum += element(layout.type, memory, by_column ? line * layout.ld + p : p * layout.ld + line);
    set_element(problem.d->type, problem.operation->bias, line, sum);
  }
}

template <class Value>
cublasStatus_t set(Value& value, const void* from, std::size_t bytes) {
  if (from == nullptr || bytes != sizeof value) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&value, from, sizeof value);
  return CUBLAS_STATUS_SUCCESS;
}

template <class Object>
cublasStatus_t create(Object** object, const Object& value) {
  if (object == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *object = new Object(value);
  ++objects;
  return CUBLAS_STATUS_SUCCESS;
}

template <class Object>
cublasStatus_t destroy(Object* object, cublasStatus_t when_null) {
  if (object == nullptr) return when_null;
  delete object;
  --objects;
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

namespace host_cuda {

CublasLtCounts cublaslt_counts() {
  return {objects, heuristics, products};
}

}  // namespace host_cuda

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  return create(handle, {});
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  return destroy(handle, CUBLAS_STATUS_NOT_INITIALIZED);
}

const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "CUBLAS_STATUS_UNKNOWN";
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                          std::uint64_t rows, std::uint64_t columns, std::int64_t ld) {
  return create(layout, {type, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns), ld});
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  return destroy(layout, CUBLAS_STATUS_SUCCESS);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation, cublasComputeType_t compute_type,
                                        cudaDataType_t scale_type) {
  return create(operation, {compute_type, scale_type});
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  return destroy(operation, CUBLAS_STATUS_SUCCESS);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                              cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              std::size_t bytes) {
  if (operation == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return set(operation->transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return set(operation->transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return set(operation->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return set(operation->bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return set(operation->bias_type, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  return create(preference, {});
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  return destroy(preference, CUBLAS_STATUS_SUCCESS);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, std::size_t bytes) {
  if (preference == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return set(preference->workspace_bytes, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return set(preference->reduction_schemes, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return set(preference->alignment_a, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return set(preference->alignment_b, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return set(preference->alignment_c, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return set(preference->alignment_d, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t results[], int* returned) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!operation || !a || !b || !c || !d || !preference || requested < 1 || !results || !returned)
    return CUBLAS_STATUS_INVALID_VALUE;
  ++heuristics;
  *returned = 0;
  const Problem problem = problem_of(operation, a, b, c, d);
  const cublasStatus_t status = check_problem(problem);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  if (problem.bias_gradient() && (!gradient_is_aligned(*a, preference->alignment_a) ||
                                  !gradient_is_aligned(*b, preference->alignment_b)))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  const Algorithm algorithm = choose_algorithm(problem, *preference);
  results[0] = {};
  std::memcpy(results[0].algo.data, &algorithm, sizeof algorithm);
  results[0].workspaceSize = workspace_bytes(algorithm);
  results[0].state = CUBLAS_STATUS_SUCCESS;
  *returned = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* chosen, void* workspace, std::size_t workspace_size,
                              cudaStream_t) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!operation || !alpha || !beta || !a || !a_layout || !b || !b_layout || !c || !c_layout || !d ||
      !d_layout || !chosen)
    return CUBLAS_STATUS_INVALID_VALUE;
  const Problem problem = problem_of(operation, a_layout, b_layout, c_layout, d_layout);
  const cublasStatus_t status = check_problem(problem);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  Algorithm algorithm;
  std::memcpy(&algorithm, chosen->data, sizeof algorithm);
  const std::size_t needed = workspace_bytes(algorithm);
  if (!fits(algorithm, problem, a, b, c, d) || workspace_size < needed ||
      (needed > 0 && workspace == nullptr) ||
      (operation->epilogue != CUBLASLT_EPILOGUE_DEFAULT && operation->bias == nullptr))
    return CUBLAS_STATUS_INVALID_VALUE;

  ++products;
  const float factor = *static_cast<const float*>(alpha), old_factor = *static_cast<const float*>(beta);
  check_memory(problem, a, b, c, d, old_factor);
  if (workspace_size > 0)
    check_range("the workspace", workspace, static_cast<std::int64_t>(workspace_size), "as its size says");
  const std::vector<float> sums = product(problem, algorithm, a, b, static_cast<float*>(workspace));
  if (problem.bias_gradient()) write_bias_gradient(problem, a, b);
  write_result(problem, sums, factor, old_factor, c, d);
  return CUBLAS_STATUS_SUCCESS;
}
