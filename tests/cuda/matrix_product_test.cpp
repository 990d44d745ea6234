// Matrix products through cuBLASLt, or its stand-in in host_cuda, against loops in double over the numbers
// that the product reads.
//
// Bounds: a sum of k products in float, in whatever order, is off by at most k · 2⁻²⁴ of the sum of the
// terms' sizes, or k · 2⁻²³ where the last bits are cut off and not rounded, as tensor cores may do; four
// more roundings cover the products themselves, alpha, beta and the bias. bfloat16 rounds the result once, by
// less than 2⁻⁸ of it.
#include "cuda/matrix_product.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cublasLt.h>

#include <array>
#include <cstring>

#include "cuda/cublaslt_library.h"
#include "cuda/device_array.h"
#include "environment_variable.h"
#include "error.h"

namespace toller {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

/// A result in double, and the sum of its terms' sizes.
struct Sum {
  double value = 0, size = 0;
  void add(double term) {
    value += term;
    size += std::abs(term);
  }
};

constexpr double kAdditionError = kOnGpu ? 0x1p-23 : 0x1p-24;

template <class T>
void expect_sum(double result, const Sum& sum, std::int64_t k, const std::string& name) {
  const double error = static_cast<double>(k + 4) * kAdditionError * sum.size;
  const double rounding = std::is_same_v<T, bfloat16> ? kBfloat16Error * (std::abs(sum.value) + error) : 0;
  ASSERT_LE(std::abs(result - sum.value), error + rounding)  // false for NaN
      << name << " is " << result << ", not " << sum.value;
}

/// One call of multiply().
struct Case {
  bool transpose_a = false, transpose_b = false;
  std::int64_t m = 1, n = 1, k = 1;
  double alpha = 1, beta = 0;
  std::int64_t padding = 0;  ///< elements behind every row, of all matrices

  std::int64_t lda() const { return (transpose_a ? m : k) + padding; }
  std::int64_t ldb() const { return (transpose_b ? k : n) + padding; }
  std::int64_t ldc() const { return n + padding; }
  std::int64_t size_a() const { return (transpose_a ? k : m) * lda(); }
  std::int64_t size_b() const { return (transpose_b ? n : k) * ldb(); }
  std::int64_t size_c() const { return m * ldc(); }
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.m << " × " << c.n << " × " << c.k << (c.transpose_a ? " aᵀ" : " a")
             << (c.transpose_b ? " bᵀ" : " b") << ", alpha " << c.alpha << ", beta " << c.beta << ", padding "
             << c.padding;
}

template <class A, class C>
std::vector<C> multiply(MatrixProducts& products, const Case& c, const std::vector<double>& a,
                        const std::vector<double>& b, const std::vector<double>& before) {
  auto device_a = on_device<A>(a), device_b = on_device<A>(b);
  auto device_c = on_device<C>(before);
  products.multiply(c.transpose_a, c.transpose_b, c.m, c.n, c.k, static_cast<float>(c.alpha), device_a.data(),
                    c.lda(), device_b.data(), c.ldb(), static_cast<float>(c.beta), device_c.data(), c.ldc());
  return device_c.values();
}

/// Runs the case with c full of NaNs where beta is 0, and looks at what lies behind c's rows too.
template <class A, class C>
void check_multiply(MatrixProducts& products, const Case& c) {
  SCOPED_TRACE(testing::Message() << c);
  const auto a = random_numbers<A>(c.size_a(), 1), b = random_numbers<A>(c.size_b(), 2);
  auto before = random_numbers<C>(c.size_c(), 3);
  if (c.beta == 0) before.assign(before.size(), std::nan(""));
  const auto result = to_doubles(multiply<A, C>(products, c, a, b, before));
  for (std::int64_t i = 0; i < c.m; ++i) {
    for (std::int64_t j = 0; j < c.ldc(); ++j) {
      const auto place = static_cast<std::size_t>(i * c.ldc() + j);
      if (j >= c.n) {
        ASSERT_TRUE(result[place] == before[place] || (std::isnan(result[place]) && c.beta == 0))
            << "written behind row " << i;
        continue;
      }
      Sum sum;
      for (std::int64_t p = 0; p < c.k; ++p) {
        const double x = a[static_cast<std::size_t>(c.transpose_a ? p * c.lda() + i : i * c.lda() + p)];
        const double y = b[static_cast<std::size_t>(c.transpose_b ? j * c.ldb() + p : p * c.ldb() + j)];
        sum.add(c.alpha * x * y);
      }
      if (c.beta != 0) sum.add(c.beta * before[place]);
      expect_sum<C>(result[place], sum, c.k, testing::PrintToString(std::pair{i, j}));
    }
  }
}

template <class Types>
class ProductsOnTheDevice : public testing::Test {};
using TypePairs =
    testing::Types<std::pair<float, float>, std::pair<bfloat16, bfloat16>, std::pair<bfloat16, float>>;
TYPED_TEST_SUITE(ProductsOnTheDevice, TypePairs);

TYPED_TEST(ProductsOnTheDevice, AreTheSums) {
  MatrixProducts products(nullptr);
  for (const auto& [m, n, k] : {std::array<std::int64_t, 3>{1, 1, 1},
                                {3, 5, 7},
                                {64, 32, 48},
                                {65, 33, 17},
                                {1, 40, 9},
                                {40, 1, 9},
                                {24, 16, 700}}) {
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        for (const std::int64_t padding : {0, 3}) {
          for (const auto& [alpha, beta] : {std::pair{1.0, 0.0}, {0.5, 1.0}, {-2.0, 0.25}})
            check_multiply<typename TypeParam::first_type, typename TypeParam::second_type>(
                products, {transpose_a, transpose_b, m, n, k, alpha, beta, padding});
        }
      }
    }
  }
}

TYPED_TEST(ProductsOnTheDevice, TakeSidesOfNoLength) {
  using A = typename TypeParam::first_type;
  using C = typename TypeParam::second_type;
  MatrixProducts products(nullptr);
  const auto before = random_numbers<C>(3 * 7, 1);
  const auto old = to_storage<C>(before);
  const auto bits = [](const std::vector<C>& values) {
    std::vector<unsigned char> bytes(values.size() * sizeof(C));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  };
  EXPECT_EQ(bits(multiply<A, C>(products, {false, false, 3, 0, 4, 1, 0, 7}, random_numbers<A>(33, 1),
                                random_numbers<A>(28, 2), before)),
            bits(old));
  EXPECT_EQ(bits(multiply<A, C>(products, {false, true, 3, 5, 0, 1, 1, 2}, random_numbers<A>(6, 1),
                                random_numbers<A>(10, 2), before)),
            bits(old));
  check_multiply<A, C>(products, {false, true, 3, 5, 0, 1, 0, 2});
  products.multiply<A, C>(false, false, 0, 5, 4, 1, nullptr, 4, nullptr, 5, 0, nullptr, 5);
  EXPECT_THAT((([&] {
                check_multiply<A, C>(products, {false, false, 3, 5, 0, 1, 0.5, 0});
              })),
              ThrowsMessage<Error>(AllOf(HasSubstr("m = 3, n = 5, k = 0"), HasSubstr("beta is 0.5"))));
}

/// What is taken from memory that begins in the middle of an allocation, at odd addresses in bfloat16.
TYPED_TEST(ProductsOnTheDevice, TakeMemoryThatIsNotAligned) {
  using A = typename TypeParam::first_type;
  using C = typename TypeParam::second_type;
  MatrixProducts products(nullptr);
  const auto a = random_numbers<A>(1 + 8 * 8, 1), b = random_numbers<A>(3 + 8 * 8, 2);
  auto device_a = on_device<A>(a), device_b = on_device<A>(b);
  DeviceArray<C> c(5 + 8 * 8);
  products.multiply(false, false, 8, 8, 8, 1, device_a.data() + 1, 8, device_b.data() + 3, 8, 0, c.data() + 5,
                    8);
  const auto result = c.doubles();
  for (std::size_t i = 0; i < 8; ++i) {
    for (std::size_t j = 0; j < 8; ++j) {
      Sum sum;
      for (std::size_t p = 0; p < 8; ++p) sum.add(a[1 + i * 8 + p] * b[3 + p * 8 + j]);
      expect_sum<C>(result[5 + i * 8 + j], sum, 8, "c");
    }
  }
  DeviceArray<A> aligned(to_storage<A>({a.begin() + 1, a.end()}));
  DeviceArray<C> again(5 + 8 * 8);
  products.multiply(false, false, 8, 8, 8, 1, aligned.data(), 8, device_b.data() + 3, 8, 0, again.data() + 5,
                    8);
  EXPECT_EQ(products.plans(), 2u) << "the alignment is part of the plan";
}

TYPED_TEST(ProductsOnTheDevice, HaveTheSameBitsTwice) {
  using A = typename TypeParam::first_type;
  using C = typename TypeParam::second_type;
  for (const std::int64_t k : {60, 1000}) {
    const Case c{true, false, 33, 41, k, 1, 1, 0};
    const auto a = random_numbers<A>(c.size_a(), 1), b = random_numbers<A>(c.size_b(), 2),
               before = random_numbers<C>(c.size_c(), 3);
    MatrixProducts products(nullptr), others(nullptr);
    const auto first = multiply<A, C>(products, c, a, b, before);
    const auto same = [&](const std::vector<C>& result) {
      return std::memcmp(first.data(), result.data(), first.size() * sizeof(C)) == 0;
    };
    EXPECT_TRUE(same(multiply<A, C>(products, c, a, b, before)));
    EXPECT_TRUE(same(multiply<A, C>(others, c, a, b, before)));
  }
}

struct Layer {
  std::int64_t rows, in, out;
};
/// The first have rows of whole 16 bytes in both storages, and so a fused bias gradient.
constexpr Layer kLayers[] = {{1, 8, 16},  {37, 16, 24}, {64, 64, 32}, {300, 8, 8}, {1, 5, 3},
                             {37, 13, 9}, {66, 33, 65}, {300, 7, 8},  {9, 8, 7}};

template <class T>
class LinearOnTheDevice : public testing::Test {};
TYPED_TEST_SUITE(LinearOnTheDevice, StorageTypes);

template <class T>
void check_linear(MatrixProducts& products, const Layer& layer, bool with_bias) {
  const auto& [rows, in, out] = layer;
  SCOPED_TRACE(testing::Message() << rows << " rows, " << in << " → " << out);
  const auto x = random_numbers<T>(rows * in, 1), w = random_numbers<T>(out * in, 2),
             bias = random_numbers<T>(out, 3);
  auto device_x = on_device<T>(x), device_w = on_device<T>(w), device_bias = on_device<T>(bias);
  DeviceArray<T> y(rows * out);
  products.linear(rows, in, out, device_x.data(), device_w.data(), with_bias ? device_bias.data() : nullptr,
                  y.data());
  const auto result = y.doubles();
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < out; ++column) {
      Sum sum;
      for (std::int64_t p = 0; p < in; ++p)
        sum.add(x[static_cast<std::size_t>(row * in + p)] * w[static_cast<std::size_t>(column * in + p)]);
      if (with_bias) sum.add(bias[static_cast<std::size_t>(column)]);
      expect_sum<T>(result[static_cast<std::size_t>(row * out + column)], sum, in, "y");
    }
  }
}

TYPED_TEST(LinearOnTheDevice, IsTheSumAndTheBias) {
  MatrixProducts products(nullptr);
  for (const Layer& layer : kLayers) {
    for (const bool with_bias : {false, true}) check_linear<TypeParam>(products, layer, with_bias);
  }
}

TYPED_TEST(LinearOnTheDevice, AddsTheBiasOfEachCall) {
  using T = TypeParam;
  MatrixProducts products(nullptr);
  auto x = on_device<T>({1, 0}), w = on_device<T>({2, 0}), bias = on_device<T>({10}),
       other = on_device<T>({20});
  DeviceArray<T> y(1);
  for (DeviceArray<T>* vector : {&bias, &other, &bias}) {
    products.linear(1, 2, 1, x.data(), w.data(), vector->data(), y.data());
    EXPECT_EQ(y.doubles()[0], 2 + vector->doubles()[0]);
  }
  EXPECT_EQ(products.plans(), 1u) << "the vector's place is not part of the plan";
}

template <class T>
void check_parameters(MatrixProducts& products, const Layer& layer) {
  const auto& [rows, in, out] = layer;
  SCOPED_TRACE(testing::Message() << rows << " rows, " << in << " → " << out);
  const auto dy = random_numbers<T>(rows * out, 1), x = random_numbers<T>(rows * in, 2);
  const auto dw = random_numbers<float>(out * in, 3), dbias = random_numbers<float>(out, 4);
  auto device_dy = on_device<T>(dy), device_x = on_device<T>(x);
  auto device_dw = on_device<float>(dw), device_dbias = on_device<float>(dbias);
  products.linear_backward_parameters(rows, in, out, device_dy.data(), device_x.data(), device_dw.data(),
                                      device_dbias.data());
  const auto new_dw = device_dw.doubles(), new_dbias = device_dbias.doubles();
  for (std::int64_t o = 0; o < out; ++o) {
    const auto gradient = [&](std::int64_t row) { return dy[static_cast<std::size_t>(row * out + o)]; };
    for (std::int64_t i = 0; i < in; ++i) {
      const auto place = static_cast<std::size_t>(o * in + i);
      Sum sum;
      for (std::int64_t row = 0; row < rows; ++row)
        sum.add(gradient(row) * x[static_cast<std::size_t>(row * in + i)]);
      sum.add(dw[place]);
      expect_sum<float>(new_dw[place], sum, rows, "dw");
    }
    Sum sum;
    for (std::int64_t row = 0; row < rows; ++row) sum.add(gradient(row));
    sum.add(dbias[static_cast<std::size_t>(o)]);
    expect_sum<float>(new_dbias[static_cast<std::size_t>(o)], sum, rows, "dbias");
  }
}

TYPED_TEST(LinearOnTheDevice, AddsTheGradientsOfParameters) {
  for (const Layer& layer : kLayers) {
    MatrixProducts products(nullptr);
    check_parameters<TypeParam>(products, layer);
    const std::int64_t line = kVector<TypeParam>;
    const bool fused = layer.in % line == 0 && layer.out % line == 0;
    const std::size_t planned = products.plans();
    // By the epilogue, or by column sums after it was refused; a GPU's cuBLASLt decides for itself.
    EXPECT_EQ(planned, kOnGpu ? std::min<std::size_t>(planned, 2) : fused ? 1 : 2);
    check_parameters<TypeParam>(products, layer);
    EXPECT_EQ(products.plans(), planned);
  }
}

template <class T>
void check_input(MatrixProducts& products, const Layer& layer, bool accumulate) {
  const auto& [rows, in, out] = layer;
  SCOPED_TRACE(testing::Message() << rows << " rows, " << in << " → " << out);
  const auto dy = random_numbers<T>(rows * out, 1), w = random_numbers<T>(out * in, 2);
  const auto dx = accumulate ? random_numbers<T>(rows * in, 3)
                             : std::vector<double>(static_cast<std::size_t>(rows * in), std::nan(""));
  auto device_dy = on_device<T>(dy), device_w = on_device<T>(w), device_dx = on_device<T>(dx);
  products.linear_backward_input(rows, in, out, device_dy.data(), device_w.data(), device_dx.data(),
                                 accumulate);
  const auto result = device_dx.doubles();
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t i = 0; i < in; ++i) {
      const auto place = static_cast<std::size_t>(row * in + i);
      Sum sum;
      for (std::int64_t o = 0; o < out; ++o)
        sum.add(dy[static_cast<std::size_t>(row * out + o)] * w[static_cast<std::size_t>(o * in + i)]);
      if (accumulate) sum.add(dx[place]);
      expect_sum<T>(result[place], sum, out, "dx");
    }
  }
}

TYPED_TEST(LinearOnTheDevice, GivesTheGradientOfItsInput) {
  MatrixProducts products(nullptr);
  for (const Layer& layer : kLayers) {
    for (const bool accumulate : {false, true}) check_input<TypeParam>(products, layer, accumulate);
  }
}

TYPED_TEST(LinearOnTheDevice, TakesNoRows) {
  using T = TypeParam;
  MatrixProducts products(nullptr);
  auto w = on_device<T>(random_numbers<T>(16 * 8, 1));
  const auto old_dw = random_numbers<float>(16 * 8, 2), old_dbias = random_numbers<float>(16, 3);
  auto dw = on_device<float>(old_dw), dbias = on_device<float>(old_dbias);
  DeviceArray<T> none(0);
  products.linear<T>(0, 8, 16, none.data(), w.data(), w.data(), none.data());
  products.linear_backward_parameters<T>(0, 8, 16, none.data(), none.data(), dw.data(), dbias.data());
  products.linear_backward_input<T>(0, 8, 16, none.data(), w.data(), none.data(), false);
  EXPECT_EQ(dw.doubles(), old_dw);
  EXPECT_EQ(dbias.doubles(), old_dbias);
}

#if defined(HOST_CUDA)  // which counts calls and objects

TEST(MatrixProducts, CallNothingWithoutElements) {
  const std::int64_t made = host_cuda::cublaslt_counts().products;
  MatrixProducts products(nullptr);
  DeviceArray<float> x(16 * 8);
  products.multiply<float, float>(false, false, 0, 5, 4, 1, nullptr, 4, nullptr, 5, 0, nullptr, 5);
  products.multiply(false, false, 3, 0, 4, 1, x.data(), 4, x.data(), 7, 0, x.data(), 7);
  products.multiply(false, false, 3, 5, 0, 1, x.data(), 1, x.data(), 5, 0, x.data(), 5);
  products.linear<float>(0, 8, 16, nullptr, x.data(), x.data(), nullptr);
  products.linear_backward_parameters<float>(0, 8, 16, nullptr, nullptr, x.data(), x.data());
  products.linear_backward_input<float>(0, 8, 16, nullptr, x.data(), nullptr, false);
  EXPECT_EQ(host_cuda::cublaslt_counts().products, made);
}

TEST(MatrixProducts, MakeNothingForAShapeSeenBefore) {
  const std::int64_t before = host_cuda::cublaslt_counts().objects;
  {
    MatrixProducts products(nullptr);
    const auto step = [&] {
      check_linear<float>(products, {64, 64, 32}, true);
      check_parameters<float>(products, {64, 64, 32});
      check_parameters<float>(products, {9, 5, 3});
      check_input<float>(products, {64, 64, 32}, true);
    };
    step();
    const auto first = host_cuda::cublaslt_counts();
    const std::size_t memory = host_cuda::device_bytes();
    step();
    const auto second = host_cuda::cublaslt_counts();
    EXPECT_EQ(second.objects, first.objects);
    EXPECT_EQ(second.heuristics, first.heuristics);
    EXPECT_EQ(second.products, first.products + 4);
    EXPECT_EQ(host_cuda::device_bytes(), memory);
    EXPECT_EQ(products.plans(), 5u);
  }
  EXPECT_EQ(host_cuda::cublaslt_counts().objects, before);
}

TEST(MatrixProducts, KeepABoundedNumberOfPlans) {
  MatrixProducts products(nullptr);
  DeviceArray<float> memory(2 * MatrixProducts::kMaxPlans);
  const auto run = [&](std::int64_t k) {
    products.multiply(false, true, 1, 1, k, 1, memory.data(), k, memory.data(), k, 0, memory.data(), 1);
  };
  const auto heuristics_of = [&](std::int64_t k) {
    const std::int64_t before = host_cuda::cublaslt_counts().heuristics;
    run(k);
    return host_cuda::cublaslt_counts().heuristics - before;
  };
  const std::int64_t limit = MatrixProducts::kMaxPlans;
  for (std::int64_t k = 1; k <= limit; ++k) run(k);
  EXPECT_EQ(products.plans(), MatrixProducts::kMaxPlans);
  const std::int64_t objects = host_cuda::cublaslt_counts().objects;
  EXPECT_EQ(heuristics_of(1), 0);
  EXPECT_EQ(heuristics_of(limit + 1), 1);
  EXPECT_EQ(products.plans(), MatrixProducts::kMaxPlans);
  EXPECT_EQ(host_cuda::cublaslt_counts().objects, objects);
  EXPECT_EQ(heuristics_of(1), 0) << "used after 2";
  EXPECT_EQ(heuristics_of(2), 1) << "dropped for the new one";
}

TEST(MatrixProducts, RefuseMemoryThatIsTooSmall) {
  MatrixProducts products(nullptr);
  DeviceArray<float> memory(64);
  float* x = memory.data();
  EXPECT_THAT([&] { products.multiply(false, false, 8, 8, 9, 1, x, 9, x, 8, 0, x, 8); },
              ThrowsMessage<host_cuda::Error>(HasSubstr("allocation of device memory")));
}

#endif

TEST(MatrixProducts, SayWhatFailed) {
  MatrixProducts products(nullptr);
  DeviceArray<float> memory(64);
  float* x = memory.data();
  EXPECT_THAT([&] { products.multiply(false, false, 2, 3, 4, 1, x, 3, x, 3, 0, x, 3); },
              ThrowsMessage<Error>(AllOf(HasSubstr("a matrix product"), HasSubstr("m = 2, n = 3, k = 4"),
                                         HasSubstr("CUBLAS_STATUS_"))));
  EXPECT_THAT([&] { products.linear(2, 0, 3, x, x, x, x); }, ThrowsMessage<Error>(HasSubstr("linear layer")));
  EXPECT_THAT([&] { products.linear_backward_parameters(1, 1, 65537, x, x, x, x); },
              ThrowsMessage<Error>(AllOf(HasSubstr("65537"), HasSubstr("65536"))));
}

TEST(CublasLtLibrary, SaysWhereItLookedWhenItIsAbsent) {
  const EnvironmentVariable name("TOLLER_CUBLASLT", "/nonexistent/libcublasLt.so.13");
  EXPECT_THAT([] { load_cublaslt(); },
              ThrowsMessage<Error>(AllOf(HasSubstr("cuBLASLt was not found"), HasSubstr("TOLLER_CUBLASLT"),
                                         HasSubstr("/nonexistent/libcublasLt.so.13"))));
}

TEST(CublasLtLibrary, SaysWhichFunctionALibraryLacks) {
  const EnvironmentVariable name("TOLLER_CUBLASLT", "libm.so.6");
  EXPECT_THAT([] { load_cublaslt(); },
              ThrowsMessage<Error>(
                  AllOf(HasSubstr("libm.so.6"), HasSubstr("cublasLtCreate"), HasSubstr("TOLLER_CUBLASLT"))));
}

}  // namespace
}  // namespace toller
