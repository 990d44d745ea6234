// The stand-in of cuBLASLt: column-major results by its documented rules, and what it refuses.
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "cuda/launch.cuh"

namespace toller {
namespace {

/// An allocation of floats.
class Floats {
 public:
  explicit Floats(const std::vector<float>& values) : size_(values.size()) {
    check_cuda(cudaMalloc(&data_, size_ * sizeof(float)), "cudaMalloc");
    check_cuda(cudaMemcpy(data_, values.data(), size_ * sizeof(float), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  ~Floats() { cudaFree(data_); }
  Floats(const Floats&) = delete;
  Floats& operator=(const Floats&) = delete;
  float* data() { return data_; }
  std::vector<float> values() const {
    std::vector<float> values(size_);
    check_cuda(cudaMemcpy(values.data(), data_, size_ * sizeof(float), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return values;
  }

 private:
  std::size_t size_;
  float* data_ = nullptr;
};

/// D [2 × 3] = op(A) [2 × 4] op(B) [4 × 3], all floats, leading dimension 4 but for D's.
class CublasLt : public testing::Test {
 protected:
  CublasLt() {
    EXPECT_EQ(cublasLtCreate(&handle_), CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(cublasLtMatmulDescCreate(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F), CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(cublasLtMatmulPreferenceCreate(&preference_), CUBLAS_STATUS_SUCCESS);
    a_layout_ = layout(CUDA_R_32F, 4, 2, 4);
    b_layout_ = layout(CUDA_R_32F, 4, 3, 4);
    d_layout_ = layout(CUDA_R_32F, 2, 3, 2);
    set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  }
  ~CublasLt() override {
    for (const auto made : layouts_) cublasLtMatrixLayoutDestroy(made);
    cublasLtMatmulPreferenceDestroy(preference_);
    cublasLtMatmulDescDestroy(operation_);
    cublasLtDestroy(handle_);
  }

  cublasLtMatrixLayout_t layout(cudaDataType type, std::uint64_t rows, std::uint64_t columns,
                                std::int64_t ld) {
    cublasLtMatrixLayout_t made = nullptr;
    EXPECT_EQ(cublasLtMatrixLayoutCreate(&made, type, rows, columns, ld), CUBLAS_STATUS_SUCCESS);
    layouts_.push_back(made);
    return made;
  }
  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, const Value& value) {
    EXPECT_EQ(cublasLtMatmulDescSetAttribute(operation_, attribute, &value, sizeof value),
              CUBLAS_STATUS_SUCCESS);
  }
  void set_epilogue(cublasLtEpilogue_t epilogue, float* vector) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, vector);
  }
  cublasStatus_t choose() {
    int found = 0;
    return cublasLtMatmulAlgoGetHeuristic(handle_, operation_, a_layout_, b_layout_, d_layout_, d_layout_,
                                          preference_, 1, &chosen_, &found);
  }
  cublasStatus_t multiply(const float* a, const float* b, float* d, void* workspace = nullptr,
                          std::size_t workspace_bytes = 0) {
    return cublasLtMatmul(handle_, operation_, &alpha_, a, a_layout_, b, b_layout_, &beta_, d, d_layout_, d,
                          d_layout_, &chosen_.algo, workspace, workspace_bytes, nullptr);
  }

  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatmulPreference_t preference_ = nullptr;
  cublasLtMatrixLayout_t a_layout_, b_layout_, d_layout_;
  cublasLtMatmulHeuristicResult_t chosen_{};
  float alpha_ = 1, beta_ = 0;
  Floats a_{{1, 2, 3, 4, 5, 6, 7, 8}};               // Aᵀ = [1 2 3 4; 5 6 7 8]
  Floats b_{{1, 0, 0, 1, 0, 1, 0, 0, 2, 0, -1, 0}};  // columns
  Floats d_{{10, 20, 30, 40, 50, 60}};

 private:
  std::vector<cublasLtMatrixLayout_t> layouts_;
};

TEST_F(CublasLt, IsColumnMajor) {
  ASSERT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(multiply(a_.data(), b_.data(), d_.data()), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(d_.values(), (std::vector<float>{5, 13, 2, 6, -1, 3}));
  alpha_ = 2;
  beta_ = 1;
  ASSERT_EQ(multiply(a_.data(), b_.data(), d_.data()), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(d_.values(), (std::vector<float>{15, 39, 6, 18, -3, 9}));
}

TEST_F(CublasLt, AddsTheBiasToRowsAndSumsTheGradientsOverK) {
  Floats bias({100, 200});
  set_epilogue(CUBLASLT_EPILOGUE_BIAS, bias.data());
  ASSERT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(multiply(a_.data(), b_.data(), d_.data()), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(d_.values(), (std::vector<float>{105, 213, 102, 206, 99, 203}));

  Floats rows({0, 0}), columns({0, 0, 0});
  set_epilogue(CUBLASLT_EPILOGUE_BGRADA, rows.data());
  ASSERT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(multiply(a_.data(), b_.data(), d_.data()), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(rows.values(), (std::vector<float>{10, 26}));
  set_epilogue(CUBLASLT_EPILOGUE_BGRADB, columns.data());
  ASSERT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(multiply(a_.data(), b_.data(), d_.data()), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(columns.values(), (std::vector<float>{2, 1, 1}));
  EXPECT_EQ(d_.values(), (std::vector<float>{5, 13, 2, 6, -1, 3}));
}

TEST_F(CublasLt, RefusesWhatTheLibraryRefuses) {
  const auto handle = handle_;
  handle_ = nullptr;
  EXPECT_EQ(choose(), CUBLAS_STATUS_NOT_INITIALIZED);
  handle_ = handle;
  const auto refused = [&](cublasLtMatrixLayout_t& place, cublasLtMatrixLayout_t other) {
    std::swap(place, other);
    const cublasStatus_t status = choose();
    std::swap(place, other);
    return status;
  };
  EXPECT_EQ(refused(a_layout_, nullptr), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(refused(a_layout_, layout(CUDA_R_32F, 4, 2, 3)), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(refused(b_layout_, layout(CUDA_R_32F, 5, 3, 5)), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(refused(b_layout_, layout(CUDA_R_16BF, 4, 3, 4)), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(refused(d_layout_, layout(CUDA_R_16BF, 2, 3, 2)), CUBLAS_STATUS_NOT_SUPPORTED);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_RELU);
  EXPECT_EQ(choose(), CUBLAS_STATUS_NOT_SUPPORTED);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BGRADB);
  set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_16BF);
  EXPECT_EQ(choose(), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(cublasLtMatmulDescSetAttribute(operation_, CUBLASLT_MATMUL_DESC_TRANSA, &handle_, 1),
            CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(CublasLt, HoldsTheProductToTheAlgorithm) {
  EXPECT_EQ(multiply(a_.data(), b_.data(), d_.data()), CUBLAS_STATUS_INVALID_VALUE) << "none was chosen";
  ASSERT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  Floats shifted({0, 1, 2, 3, 4, 5, 6, 7, 8});
  EXPECT_EQ(multiply(shifted.data() + 1, b_.data(), d_.data()), CUBLAS_STATUS_INVALID_VALUE) << "alignment";
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
  EXPECT_EQ(multiply(a_.data(), b_.data(), d_.data()), CUBLAS_STATUS_INVALID_VALUE) << "no bias";
}

TEST_F(CublasLt, SumsInPartsTakeTheWorkspace) {
  constexpr std::int64_t k = 1000;
  a_layout_ = layout(CUDA_R_32F, k, 2, k);
  b_layout_ = layout(CUDA_R_32F, k, 3, k);
  Floats a(std::vector<float>(2 * k, 1)), b(std::vector<float>(3 * k, 2)), workspace(std::vector<float>(12));
  ASSERT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(chosen_.workspaceSize, 0u) << "the preferences grant none";
  const std::uint64_t bytes = 12 * sizeof(float);
  ASSERT_EQ(cublasLtMatmulPreferenceSetAttribute(preference_, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                 &bytes, sizeof bytes),
            CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(chosen_.workspaceSize, bytes);
  EXPECT_EQ(multiply(a.data(), b.data(), d_.data(), workspace.data(), bytes - 1),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(multiply(a.data(), b.data(), d_.data(), workspace.data(), bytes), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(d_.values(), std::vector<float>(6, 2000));
  EXPECT_EQ(workspace.values(), std::vector<float>(12, 1000));
}

TEST_F(CublasLt, SeesMemoryThatIsNotTheDevices) {
  using testing::HasSubstr;
  const auto says = [](const char* what) {
    return testing::ThrowsMessage<host_cuda::Error>(HasSubstr(what));
  };
  ASSERT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  alignas(256) float host[8] = {};
  EXPECT_THAT([&] { multiply(host, b_.data(), d_.data()); }, says("A (4 × 2, leading dimension 4)"));
  EXPECT_THAT([&] { multiply(a_.data(), a_.data(), d_.data()); }, says("B (4 × 3"));
  EXPECT_THAT([&] { multiply(a_.data(), b_.data(), host); }, says("D (2 × 3"));
  EXPECT_THAT([&] { multiply(a_.data(), b_.data(), d_.data(), host, sizeof host); }, says("the workspace"));
  Floats bias({1});
  set_epilogue(CUBLASLT_EPILOGUE_BIAS, bias.data());
  EXPECT_THAT([&] { multiply(a_.data(), b_.data(), d_.data()); }, says("the bias vector (2 elements)"));
}

}  // namespace
}  // namespace toller
