// The encoder's forward pass: packing, precision, dropout and thread count.
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <cstring>

#include "model/random_encoder.h"

namespace toller {
namespace {

template <class T>
std::vector<T> encode(const EncoderConfig& config, const std::vector<T>& parameters, const RandomPack& pack,
                      const DropoutState& dropout) {
  const auto ops = make_cpu_ops<T>();
  const ParameterTable table(config);
  const Encoder<T> encoder(config, table, *ops);
  Arena arena(*ops);
  std::vector<T> embeddings(static_cast<std::size_t>(pack.sequences.count * config.hidden_size));
  encoder.encode(parameters.data(), pack.sequences, dropout, arena, embeddings.data());
  return embeddings;
}

TEST(Encoder, ASequenceDoesNotSeeItsNeighbours) {
  const EncoderConfig config = small_config();
  const auto parameters = random_parameters<double>(ParameterTable(config));
  const RandomPack pack({5, 70, 1, 9}, config);
  const auto together = encode(config, parameters, pack, {});
  for (std::int64_t s = 0; s < 4; ++s) {
    const std::int32_t first = pack.offsets[s], length = pack.offsets[s + 1] - first;
    RandomPack alone({length}, config);
    std::copy_n(pack.tokens.begin() + first, length, alone.tokens.begin());
    const auto embedding = encode(config, parameters, alone, {});
    for (std::int64_t i = 0; i < config.hidden_size; ++i) {
      EXPECT_NEAR(together[s * config.hidden_size + i], embedding[i], 1e-13);
    }
  }
}

TEST(Encoder, DropoutDependsOnTheGlobalRowNotOnThePack) {
  const EncoderConfig config = small_config();
  const auto parameters = random_parameters<double>(ParameterTable(config));
  const DropoutState dropout{true, 9, 2};
  const RandomPack pack({5, 70, 9}, config, 100);
  const auto together = encode(config, parameters, pack, dropout);
  RandomPack last({9}, config, 175);
  std::copy_n(pack.tokens.begin() + 75, 9, last.tokens.begin());
  const auto alone = encode(config, parameters, last, dropout);
  for (std::int64_t i = 0; i < config.hidden_size; ++i) {
    EXPECT_NEAR(together[2 * config.hidden_size + i], alone[i], 1e-13);
  }
  RandomPack moved({9}, config, 176);
  moved.tokens = last.tokens;
  moved.sequences.token = moved.tokens.data();
  EXPECT_NE(alone, encode(config, parameters, moved, dropout));
  EXPECT_NE(alone, encode(config, parameters, last, {true, 9, 3}));
  EXPECT_NE(alone, encode(config, parameters, last, {true, 10, 2}));
}

TEST(Encoder, DropoutKeepsTheExpectation) {
  // A linear path: the mean of many masks of the embedding layer approaches the pass without dropout.
  Dropout dropout{0.3, 77, 1, 5};
  const auto ops = make_cpu_ops<double>();
  constexpr std::int64_t kHidden = 8, kTokens = 20000;
  std::vector<std::int32_t> offsets{0, kTokens};
  std::vector<std::int64_t> rows(kTokens);
  std::iota(rows.begin(), rows.end(), 0);
  const PackedSequences sequences{.offsets = offsets.data(),
                                  .global_row = rows.data(),
                                  .count = 1,
                                  .tokens = kTokens,
                                  .max_length = kTokens,
                                  .length_limit = kTokens};
  std::vector<double> x(kTokens * kHidden, 1), zero(x.size(), 0), bias(kHidden, 0), gain(kHidden, 1);
  std::vector<double> mean(kTokens), rstd(kTokens), y(x.size());
  ops->residual_norm(sequences, kHidden, x.data(), bias.data(), zero.data(), gain.data(), bias.data(), 1e-5,
                     dropout, mean.data(), rstd.data(), y.data());
  double sum = 0, kept = 0;
  for (const double value : x) {
    EXPECT_TRUE(value == 0 || std::abs(value - 1 / 0.7) < 1e-12);
    sum += value;
    kept += value != 0;
  }
  const double n = static_cast<double>(x.size());
  EXPECT_NEAR(sum / n, 1, 5 * std::sqrt(0.3 / 0.7 / n));
  EXPECT_NEAR(kept / n, 0.7, 5 * std::sqrt(0.21 / n));
}

TEST(Encoder, FloatAgreesWithDouble) {
  EncoderConfig config = small_config();
  config.hidden_size = 48;
  config.intermediate_size = 100;
  const ParameterTable table(config);
  const auto parameters = random_parameters<double>(table);
  const std::vector<float> narrow(parameters.begin(), parameters.end());
  const RandomPack pack({3, 130, 17}, config);
  for (const bool active : {false, true}) {
    const auto wide = encode(config, parameters, pack, {active, 1, 1});
    const auto single = encode(config, narrow, pack, {active, 1, 1});
    for (std::size_t i = 0; i < wide.size(); ++i) EXPECT_NEAR(single[i], wide[i], 2e-5);
  }
}

TEST(Encoder, ForwardAndEncodeAgreeBitByBit) {
  EncoderConfig config = small_config();
  config.layers = 3;
  const ParameterTable table(config);
  const auto parameters = random_parameters<float>(table);
  const RandomPack pack({3, 13, 40}, config);
  const auto ops = make_cpu_ops<float>();
  const Encoder<float> encoder(config, table, *ops);
  Arena arena(*ops);
  Activations<float> kept;
  std::vector<float> embeddings(3 * 12);
  encoder.forward(parameters.data(), pack.sequences, {true, 1, 1}, arena, kept, embeddings.data());
  EXPECT_EQ(embeddings, encode(config, parameters, pack, {true, 1, 1}));
}

/// Embeddings, and the gradient of their sum weighted at random.
std::pair<std::vector<double>, std::vector<double>> forward_and_back(const EncoderConfig& config,
                                                                     const std::vector<double>& parameters,
                                                                     const RandomPack& pack) {
  const DropoutState dropout{true, 9, 2};
  const auto ops = make_cpu_ops<double>();
  const ParameterTable table(config);
  const Encoder<double> encoder(config, table, *ops);
  Arena arena(*ops);
  Activations<double> kept;
  const auto size = static_cast<std::size_t>(pack.sequences.count * config.hidden_size);
  std::vector<double> embeddings(size), gradient(parameters.size());
  encoder.forward(parameters.data(), pack.sequences, dropout, arena, kept, embeddings.data());
  encoder.backward(parameters.data(), pack.sequences, dropout, arena, kept,
                   random_values<double>(size, 1).data(), gradient.data());
  return {std::move(embeddings), std::move(gradient)};
}

// RoBERTa's rows before the offset are not there for BERT, and DistilBERT's types are BERT's of zeros.
TEST(Encoder, AnOffsetAndNoTypesAreBertWithOtherTables) {
  EncoderConfig bert = small_config(), other = bert;
  bert.type_vocabulary_size = 1;
  other.type_vocabulary_size = 0;
  other.max_positions = 514;
  other.position_offset = 2;
  const ParameterTable bert_table(bert), other_table(other);
  const std::vector<double> parameters = random_parameters<double>(other_table);
  // In the other table, what an element of BERT's is; -1 where it has none.
  std::vector<std::int64_t> place(static_cast<std::size_t>(bert_table.size()), -1);
  for (const TensorView& tensor : bert_table.tensors()) {
    if (tensor.name == "embeddings.token_type_embeddings.weight") continue;
    const bool is_position = tensor.name == "embeddings.position_embeddings.weight";
    const std::int64_t first = other_table.at(tensor.name).offset + (is_position ? 2 * 12 : 0);
    for (std::int64_t i = 0; i < tensor.size; ++i) place[tensor.offset + i] = first + i;
  }
  std::vector<double> bert_parameters(place.size());
  for (std::size_t i = 0; i < place.size(); ++i) bert_parameters[i] = place[i] < 0 ? 0 : parameters[place[i]];

  const RandomPack pack({5, 512, 1}, other);
  const auto [embeddings, gradient] = forward_and_back(other, parameters, pack);
  const auto [bert_embeddings, bert_gradient] = forward_and_back(bert, bert_parameters, pack);
  EXPECT_EQ(embeddings, bert_embeddings);
  std::vector<double> expected(gradient.size());  // zero where BERT has no such row
  for (std::size_t i = 0; i < place.size(); ++i) {
    if (place[i] >= 0) expected[place[i]] = bert_gradient[i];
  }
  EXPECT_EQ(gradient, expected);
}

TEST(Encoder, ThreadsDoNotChangeTheGradient) {
  const EncoderConfig config = small_config();
  const ParameterTable table(config);
  const auto parameters = random_parameters<float>(table);
  const RandomPack pack({300, 13, 280, 1, 511}, config);
  const auto weights = random_values<float>(5 * 12, 1);
  const auto gradient_with = [&](int threads) {
    omp_set_num_threads(threads);
    const auto ops = make_cpu_ops<float>();
    const Encoder<float> encoder(config, table, *ops);
    Arena arena(*ops);
    Activations<float> kept;
    std::vector<float> embeddings(weights.size()), gradient(parameters.size());
    encoder.forward(parameters.data(), pack.sequences, {true, 1, 1}, arena, kept, embeddings.data());
    encoder.backward(parameters.data(), pack.sequences, {true, 1, 1}, arena, kept, weights.data(),
                     gradient.data());
    return gradient;
  };
  const int before = omp_get_max_threads();
  const auto one = gradient_with(1);
  EXPECT_EQ(one, gradient_with(1));
  const auto two = gradient_with(2);
  omp_set_num_threads(before);
  ASSERT_EQ(one.size(), two.size());
  for (std::size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(one[i], two[i], 1e-6 + 1e-5 * std::abs(one[i]));
}

}  // namespace
}  // namespace toller
