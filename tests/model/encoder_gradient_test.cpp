// The encoder's gradients against central differences in fp64: every parameter tensor, every pooling, with
// and without dropout and normalisation, sequences of length 1 to 512 in one pack.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <tuple>

#include "model/random_encoder.h"

namespace toller {
namespace {

using Case = std::tuple<Pooling, bool, bool>;  // pooling, dropout, normalise

class EncoderGradient : public testing::TestWithParam<Case> {
 protected:
  EncoderGradient() {
    config_ = small_config();
    config_.pooling = std::get<0>(GetParam());
    config_.normalize = std::get<2>(GetParam());
    dropout_ = {std::get<1>(GetParam()), 11, 4};
  }

  /// ⟨embeddings, weights⟩ at the given parameters.
  double objective(const Encoder<double>& encoder, const std::vector<double>& parameters,
                   const RandomPack& pack, const std::vector<double>& weights) {
    Arena arena(*ops_);
    std::vector<double> embeddings(weights.size());
    encoder.encode(parameters.data(), pack.sequences, dropout_, arena, embeddings.data());
    double sum = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) sum += weights[i] * embeddings[i];
    return sum;
  }

  EncoderConfig config_;
  DropoutState dropout_;
  std::unique_ptr<Ops<double>> ops_ = make_cpu_ops<double>();
};

TEST_P(EncoderGradient, MatchesCentralDifferences) {
  const ParameterTable table(config_);
  const Encoder<double> encoder(config_, table, *ops_);
  const RandomPack pack({1, 2, 7, 64, 65, 512, 3, 1}, config_);
  const std::vector<double> parameters = random_parameters<double>(table);
  const auto weights = random_values<double>(static_cast<std::size_t>(pack.sequences.count * 12), 17);

  Arena arena(*ops_);
  Activations<double> kept;
  std::vector<double> embeddings(weights.size());
  std::vector<double> gradient(parameters.size());
  encoder.forward(parameters.data(), pack.sequences, dropout_, arena, kept, embeddings.data());
  encoder.backward(parameters.data(), pack.sequences, dropout_, arena, kept, weights.data(), gradient.data());

  double largest = 0;
  for (const double g : gradient) largest = std::max(largest, std::abs(g));
  constexpr double kStep = 2e-6;
  for (const TensorView& tensor : table.tensors()) {
    const auto direction = random_values<double>(static_cast<std::size_t>(tensor.size), 23);
    std::vector<double> moved = parameters;
    const auto move = [&](double step) {
      for (std::int64_t i = 0; i < tensor.size; ++i) {
        moved[tensor.offset + i] = parameters[tensor.offset + i] + step * direction[i];
      }
      return objective(encoder, moved, pack, weights);
    };
    const double numeric = (move(kStep) - move(-kStep)) / (2 * kStep);
    double analytic = 0, magnitude = 0;
    for (std::int64_t i = 0; i < tensor.size; ++i) {
      analytic += gradient[tensor.offset + i] * direction[i];
      magnitude += std::abs(gradient[tensor.offset + i] * direction[i]);
    }
    if (tensor.name.find("attention.self.key.bias") != std::string::npos ||
        tensor.name == "loss.log_temperature") {
      EXPECT_EQ(analytic, 0) << tensor.name;
      EXPECT_NEAR(numeric, 0, 1e-7 * largest) << tensor.name;
      continue;
    }
    EXPECT_GT(magnitude, 0) << tensor.name << ": a gradient that is zero shows nothing";
    EXPECT_NEAR(numeric, analytic, 1e-6 * magnitude) << tensor.name;
  }
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
  const auto [pooling, dropout, normalize] = info.param;
  return pooling_name(pooling) + (dropout ? "Dropout" : "Plain") + (normalize ? "Unit" : "Raw");
}

INSTANTIATE_TEST_SUITE_P(All, EncoderGradient,
                         testing::Combine(testing::Values(Pooling::kMean, Pooling::kCls, Pooling::kLast),
                                          testing::Bool(), testing::Bool()),
                         case_name);

}  // namespace
}  // namespace toller
