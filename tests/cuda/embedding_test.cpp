// Embedding, its norm and the gradients of its tables against the CPU. As in norm_test.cpp, what follows a
// rounded value is held against the CPU's result for that rounded value.
#include "cuda/embedding.cuh"

#include <gtest/gtest.h>

#include "cuda/column_sums.cuh"
#include "cuda/device_array.h"
#include "cuda/norm.cuh"
#include "cuda/packed_rows.h"

namespace toller {
namespace {

constexpr double kEpsilon = 1e-12;
constexpr std::int32_t kVocabulary = 19, kPositions = 310;

/// Tokens with many repeats; the last of the vocabulary never occurs.
std::vector<std::int32_t> some_tokens(std::int64_t n) {
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < n; ++i) tokens.push_back(static_cast<std::int32_t>(i * i % (kVocabulary - 1)));
  return tokens;
}

struct DeviceRows {
  DeviceRows(const PackedRows& batch, const std::vector<std::int32_t>& tokens)
      : token(tokens), place(batch.places), global_row(batch.global_rows) {
    rows = {batch.rows(), token.data(), place.data(), global_row.data()};
  }
  DeviceArray<std::int32_t> token, place;
  DeviceArray<std::int64_t> global_row;
  EmbeddingRows rows;
};

template <class T>
class EmbeddingOnTheDevice : public testing::Test {};
TYPED_TEST_SUITE(EmbeddingOnTheDevice, StorageTypes);

PackedSequences with_tokens(const PackedRows& batch, const std::vector<std::int32_t>& tokens) {
  PackedSequences sequences = batch.sequences;
  sequences.token = tokens.data();
  return sequences;
}

/// DistilBERT has no types.
struct Form {
  Dropout dropout;
  bool has_types = true;
};
const std::vector<Form> kForms = {{{}}, {{0.3, 99, 4, 2}}, {{}, false}};

template <class T>
void compare_forward(const PackedRows& batch, std::int64_t h, const Form& form) {
  const auto& [dropout, has_types] = form;
  const std::int64_t n = batch.rows();
  const auto cpu = make_cpu_ops<double>();
  const auto tokens = some_tokens(n);
  const auto word = random_numbers<T>(kVocabulary * h, 1), position = random_numbers<T>(kPositions * h, 2),
             type = random_numbers<T>(h, 3), gain = random_numbers<T>(h, 4, 1),
             bias = random_numbers<T>(h, 5);

  DeviceRows rows(batch, tokens);
  auto device_word = on_device<T>(word), device_position = on_device<T>(position),
       device_type = on_device<T>(type), device_gain = on_device<T>(gain), device_bias = on_device<T>(bias);
  DeviceArray<T> sum(n * h), y(n * h);
  DeviceArray<float> mean(n), rstd(n);
  embed<T>(rows.rows, h, device_word.data(), device_position.data(), has_types ? device_type.data() : nullptr,
           device_gain.data(), device_bias.data(), static_cast<float>(kEpsilon), dropout, sum.data(),
           mean.data(), rstd.data(), y.data(), nullptr);

  std::vector<double> reference_sum(n * h), reference_mean(n), reference_rstd(n), reference_y(n * h);
  cpu->embed(with_tokens(batch, tokens), h, word.data(), position.data(), has_types ? type.data() : nullptr,
             gain.data(), bias.data(), kEpsilon, dropout, reference_sum.data(), reference_mean.data(),
             reference_rstd.data(), reference_y.data());
  expect_near<T>(sum.doubles(), reference_sum, "sum");

  // The rounded sums as a table of words of their own.
  std::vector<std::int32_t> own(n);
  std::iota(own.begin(), own.end(), 0);
  const std::vector<double> zero(kPositions * h), rounded_sum = sum.doubles();
  cpu->embed(with_tokens(batch, own), h, rounded_sum.data(), zero.data(), zero.data(), gain.data(),
             bias.data(), kEpsilon, dropout, reference_sum.data(), reference_mean.data(),
             reference_rstd.data(), reference_y.data());
  if (h == 1) return;  // 1 / √ε times a difference that is rounding alone
  expect_near<float>(mean.doubles(), reference_mean, "mean", typical_size(rounded_sum));
  expect_near<float>(rstd.doubles(), reference_rstd, "rstd");
  expect_near<T>(y.doubles(), reference_y, "y");
}

/// table + Σ rows of d by key.
std::vector<double> add_by_key(std::vector<double> table, const std::vector<std::int32_t>& keys,
                               std::int64_t h, const std::vector<double>& d) {
  for (std::size_t row = 0; row < keys.size(); ++row) {
    for (std::int64_t i = 0; i < h; ++i) table[keys[row] * h + i] += d[row * h + i];
  }
  return table;
}

template <class T>
std::vector<double> table_gradient(const std::vector<std::int32_t>& keys, std::int64_t h, T* d,
                                   const std::vector<double>& table) {
  const RowSegments segments = make_row_segments(keys);
  DeviceArray<std::int32_t> order(segments.order), begin(segments.begin), key(segments.key);
  auto device_table = on_device<float>(table);
  add_to_table<T>({order.data(), begin.data(), key.data(), static_cast<std::int64_t>(segments.key.size())}, h,
                  d, device_table.data(), nullptr);
  return device_table.doubles();
}

template <class T>
void compare_backward(const PackedRows& batch, std::int64_t h, const Form& form) {
  const auto& [dropout, has_types] = form;
  const std::int64_t n = batch.rows();
  const auto tokens = some_tokens(n);
  const auto dy = random_numbers<T>(n * h, 1), sum = random_numbers<T>(n * h, 2),
             gain = random_numbers<T>(h, 3, 1), mean = random_numbers<float>(n, 4),
             rstd = random_numbers<float>(n, 5, 3), dword = random_numbers<float>(kVocabulary * h, 6),
             dposition = random_numbers<float>(kPositions * h, 7), dtype = random_numbers<float>(h, 8),
             dgain = random_numbers<float>(h, 9), dbias = random_numbers<float>(h, 10);

  DeviceRows rows(batch, tokens);
  auto d = on_device<T>(dy), device_sum = on_device<T>(sum), device_gain = on_device<T>(gain);
  auto device_mean = on_device<float>(mean), device_rstd = on_device<float>(rstd),
       device_dtype = on_device<float>(dtype), device_dgain = on_device<float>(dgain),
       device_dbias = on_device<float>(dbias);
  DeviceArray<float> workspace(std::max(norm_backward_workspace(n, h), column_sums_workspace(n, h)));
  embed_norm_backward<T>(rows.rows, h, d.data(), device_sum.data(), device_mean.data(), device_rstd.data(),
                         device_gain.data(), dropout, has_types ? device_dtype.data() : nullptr,
                         device_dgain.data(), device_dbias.data(), workspace.data(), nullptr);
  const auto device_dword = table_gradient(tokens, h, d.data(), dword);
  const auto device_dposition = table_gradient(batch.places, h, d.data(), dposition);

  std::vector<double> reference_d = dy, reference_dword = dword, reference_dposition = dposition,
                      reference_dtype = dtype, reference_dgain = dgain, reference_dbias = dbias;
  make_cpu_ops<double>()->embed_backward(
      with_tokens(batch, tokens), h, reference_d.data(), sum.data(), mean.data(), rstd.data(), gain.data(),
      dropout, reference_dword.data(), reference_dposition.data(),
      has_types ? reference_dtype.data() : nullptr, reference_dgain.data(), reference_dbias.data());
  expect_near<T>(d.doubles(), reference_d, "d");
  expect_near<float>(device_dgain.doubles(), reference_dgain, "dgain");
  expect_near<float>(device_dbias.doubles(), reference_dbias, "dbias");
  if constexpr (!std::is_same_v<T, float>) {
    // The tables add up the rounded d.
    reference_dword = add_by_key(dword, tokens, h, d.doubles());
    reference_dposition = add_by_key(dposition, batch.places, h, d.doubles());
    if (has_types) reference_dtype = add_by_key(dtype, std::vector<std::int32_t>(n), h, d.doubles());
  }
  expect_near<float>(device_dword, reference_dword, "dword");
  expect_near<float>(device_dposition, reference_dposition, "dposition");
  expect_near<float>(device_dtype.doubles(), reference_dtype, "dtype");
}

TYPED_TEST(EmbeddingOnTheDevice, IsTheCpusForwards) {
  for_row_shapes([](const PackedRows& batch, std::int64_t hidden) {
    for (const Form& form : kForms) compare_forward<TypeParam>(batch, hidden, form);
  });
}

TYPED_TEST(EmbeddingOnTheDevice, IsTheCpusBackwards) {
  for_row_shapes([](const PackedRows& batch, std::int64_t hidden) {
    for (const Form& form : kForms) compare_backward<TypeParam>(batch, hidden, form);
  });
}

TEST(RowSegments, SortRowsByKeyAndKeepTheirOrder) {
  const std::vector<std::int32_t> keys = {7, 2, 7, 7, 0, 2};
  const RowSegments segments = make_row_segments(keys);
  EXPECT_EQ(segments.key, (std::vector<std::int32_t>{0, 2, 7}));
  EXPECT_EQ(segments.begin, (std::vector<std::int32_t>{0, 1, 3, 6}));
  EXPECT_EQ(segments.order, (std::vector<std::int32_t>{4, 1, 5, 0, 2, 3}));
  EXPECT_EQ(make_row_segments({}).begin, std::vector<std::int32_t>{0});
}

}  // namespace
}  // namespace toller
