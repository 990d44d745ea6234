// cuBLASLt is column-major: it sees the memory of a row-major matrix [m, n] as its transpose, n × m. The
// product c = op(a) op(b) is asked for as cᵀ = op(b)ᵀ op(a)ᵀ: b comes first, a second, m and n change places,
// and each is transposed for cuBLASLt exactly where it is transposed here.
#include "cuda/matrix_product.h"

#include "cuda/column_sums.cuh"
#include "cuda/launch.cuh"
#include "cuda/matrix_product_plans.h"
#include "error.h"

namespace toller {
namespace {

/// What cuBLASLt is advised to have on Hopper; older GPUs need less.
constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

template <class T>
constexpr cudaDataType_t kType = CUDA_R_32F;
template <>
constexpr cudaDataType_t kType<bfloat16> = CUDA_R_16BF;

/// Memory of the device for as long as the products live.
class Workspace {
 public:
  explicit Workspace(std::size_t bytes) {
    const cudaError_t error = cudaMalloc(&memory_, bytes);
    if (error == cudaSuccess) return;
    cudaGetLastError();  // told here
    fail("no device memory for the workspace of matrix products, {} bytes: {} ({})", bytes,
         cudaGetErrorString(error), cudaGetErrorName(error));
  }
  ~Workspace() { cudaFree(memory_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  void* memory() const { return memory_; }

 private:
  void* memory_ = nullptr;
};

/// A product in the caller's terms.
template <class A, class C>
struct Product {
  const char* operation;
  bool transpose_a, transpose_b;
  std::int64_t m, n, k;
  const A* a;
  std::int64_t lda;
  const A* b;
  std::int64_t ldb;
  C* c;
  std::int64_t ldc;
  float alpha = 1, beta = 0;
};

template <class A, class C>
ProductShape shape_of(const Product<A, C>& product, cublasLtEpilogue_t epilogue, const void* bias) {
  ProductShape shape;
  shape.m = product.n;
  shape.n = product.m;
  shape.k = product.k;
  shape.input = kType<A>;
  shape.output = kType<C>;
  shape.transpose_a = product.transpose_b;
  shape.transpose_b = product.transpose_a;
  shape.lda = product.ldb;
  shape.ldb = product.lda;
  shape.ldd = product.ldc;
  shape.epilogue = epilogue;
  shape.alignment_a = alignment_of(product.b);
  shape.alignment_b = alignment_of(product.a);
  shape.alignment_d = alignment_of(product.c);
  shape.alignment_bias = alignment_of(bias);
  return shape;
}

template <class A, class C>
[[noreturn]] void fail_product(const Product<A, C>& product, const std::string& why) {
  fail("{} on the GPU (m = {}, n = {}, k = {}): {}", product.operation, product.m, product.n, product.k, why);
}

}  // namespace

class MatrixProducts::State {
 public:
  explicit State(cudaStream_t stream)
      : stream_(stream),
        memory_(kWorkspaceBytes + kMaxBiasGradient * sizeof(float)),
        plans_(kWorkspaceBytes, kMaxPlans) {}

  cudaStream_t stream() const { return stream_; }
  const ProductPlans& plans() const { return plans_; }
  void* workspace() const { return memory_.memory(); }
  /// [kMaxBiasGradient], behind the workspace.
  float* bias_gradient() const {
    return reinterpret_cast<float*>(static_cast<char*>(memory_.memory()) + kWorkspaceBytes);
  }

  /// Queues the product with an epilogue. Returns why cuBLASLt has no algorithm for it, if it has none.
  template <class A, class C>
  cublasStatus_t try_run(const Product<A, C>& product, cublasLtEpilogue_t epilogue, void* bias) {
    const ProductPlan& plan = plans_.find(shape_of(product, epilogue, bias), bias);
    if (plan.refusal != CUBLAS_STATUS_SUCCESS) return plan.refusal;
    const CublasLt& lt = cublaslt();
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    if (bias != nullptr)
      status = lt.set_operation(plan.operation.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
    if (status == CUBLAS_STATUS_SUCCESS)
      status = lt.matmul(plans_.handle(), plan.operation.get(), &product.alpha, product.b, plan.a.get(),
                         product.a, plan.b.get(), &product.beta, product.c, plan.d.get(), product.c,
                         plan.d.get(), &plan.algorithm, workspace(), kWorkspaceBytes, stream_);
    if (status != CUBLAS_STATUS_SUCCESS) fail_product(product, lt.status_name(status));
    return CUBLAS_STATUS_SUCCESS;
  }

  template <class A, class C>
  void run(const Product<A, C>& product, cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT,
           void* bias = nullptr) {
    if (product.m == 0 || product.n == 0) return;
    if (product.k == 0) {
      if (bias != nullptr) fail_product(product, "a bias is added to sums that are not empty only");
      return run_empty_sum(product);
    }
    const cublasStatus_t refusal = try_run(product, epilogue, bias);
    if (refusal != CUBLAS_STATUS_SUCCESS)
      fail_product(product,
                   fmt::format("cuBLASLt has no algorithm for it ({})", cublaslt().status_name(refusal)));
  }

 private:
  /// c = beta · c.
  template <class A, class C>
  void run_empty_sum(const Product<A, C>& product) {
    if (product.beta == 1) return;
    if (product.beta != 0) fail_product(product, fmt::format("beta is {}, not 0 or 1", product.beta));
    check_cuda(cudaMemset2DAsync(product.c, static_cast<std::size_t>(product.ldc) * sizeof(C), 0,
                                 static_cast<std::size_t>(product.n) * sizeof(C),
                                 static_cast<std::size_t>(product.m), stream_),
               "cudaMemset2DAsync");
  }

  cudaStream_t stream_;
  Workspace memory_;
  ProductPlans plans_;
};

MatrixProducts::MatrixProducts(cudaStream_t stream) : state_(std::make_unique<State>(stream)) {}
MatrixProducts::~MatrixProducts() = default;

std::size_t MatrixProducts::plans() const {
  return state_->plans().size();
}

template <class A, class C>
void MatrixProducts::multiply(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n,
                              std::int64_t k, float alpha, const A* a, std::int64_t lda, const A* b,
                              std::int64_t ldb, float beta, C* c, std::int64_t ldc) {
  state_->run(Product<A, C>{"a matrix product", transpose_a, transpose_b, m, n, k, a, lda, b, ldb, c, ldc,
                            alpha, beta});
}

template <class T>
void MatrixProducts::linear(std::int64_t rows, std::int64_t in, std::int64_t out, const T* x, const T* w,
                            const T* bias, T* y) {
  // cuBLASLt's D is yᵀ, out × rows: its bias, one number a row of D, is one an output.
  const Product<T, T> product{"a linear layer", false, true, rows, out, in, x, in, w, in, y, out};
  if (bias == nullptr) return state_->run(product);
  state_->run(product, CUBLASLT_EPILOGUE_BIAS, const_cast<T*>(bias));
}

// The bias gradient by cuBLASLt's epilogue. It sees dwᵀ [in, out] = xᵀ dy: its A is x's memory, in × rows,
// not transposed; its B is dy's memory, out × rows, transposed to rows × out; its k is rows. BGRADA gives Σ_k
// op(A), one number a row of D, that is the column sums of x; BGRADB gives Σ_k op(B), one a column of D: the
// column sums of dy, in D's type, float. It overwrites its vector, which is added to dbias afterwards.
template <class T>
void MatrixProducts::linear_backward_parameters(std::int64_t rows, std::int64_t in, std::int64_t out,
                                                const T* dy, const T* x, float* dw, float* dbias) {
  if (rows == 0 || out == 0) return;
  if (out > kMaxBiasGradient) fail_size("the number of a linear layer's outputs", out, kMaxBiasGradient);
  const Product<T, float> product{"the gradient of a linear layer's parameters",
                                  true,
                                  false,
                                  out,
                                  in,
                                  rows,
                                  dy,
                                  out,
                                  x,
                                  in,
                                  dw,
                                  in,
                                  1,
                                  1};
  float* gradient = state_->bias_gradient();
  if (in > 0 && state_->try_run(product, CUBLASLT_EPILOGUE_BGRADB, gradient) == CUBLAS_STATUS_SUCCESS) {
    add_partials(1, out, out, gradient, dbias, state_->stream());
    return;
  }
  state_->run(product);
  if (column_sums_workspace(rows, out) * sizeof(float) > kWorkspaceBytes)
    fail_product(product, "the sums of its bias gradient do not fit the workspace");
  column_sums(rows, out, dy, dbias, static_cast<float*>(state_->workspace()), state_->stream());
}

template <class T>
void MatrixProducts::linear_backward_input(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                           const T* w, T* dx, bool accumulate) {
  state_->run(Product<T, T>{"the gradient of a linear layer's input", false, false, rows, in, out, dy, out, w,
                            in, dx, in, 1, accumulate ? 1.0f : 0.0f});
}

#define TOLLER_MULTIPLY(A, C)                                                                         \
  template void MatrixProducts::multiply(bool, bool, std::int64_t, std::int64_t, std::int64_t, float, \
                                         const A*, std::int64_t, const A*, std::int64_t, float, C*,   \
                                         std::int64_t);
TOLLER_MULTIPLY(float, float)
TOLLER_MULTIPLY(bfloat16, bfloat16)
TOLLER_MULTIPLY(bfloat16, float)

#define TOLLER_LINEAR(T)                                                                                  \
  template void MatrixProducts::linear(std::int64_t, std::int64_t, std::int64_t, const T*, const T*,      \
                                       const T*, T*);                                                     \
  template void MatrixProducts::linear_backward_parameters(std::int64_t, std::int64_t, std::int64_t,      \
                                                           const T*, const T*, float*, float*);           \
  template void MatrixProducts::linear_backward_input(std::int64_t, std::int64_t, std::int64_t, const T*, \
                                                      const T*, T*, bool);
TOLLER_LINEAR(float)
TOLLER_LINEAR(bfloat16)

}  // namespace toller
