// What tests/reference/hugging_face_reference.py writes: model/, a folder of sentence-transformers made with
// transformers; tokens.txt; and results.safetensors, what transformers makes of these.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/token_pass.h"
#include "io/safetensors.h"
#include "model/pretrained_architecture.h"

namespace toller {

template <class T = float>
std::vector<T> values_of(const SafetensorsReader& reader, const std::string& name) {
  std::vector<T> values(static_cast<std::size_t>(reader.info(name).elements));
  reader.read(name, 0, std::span(values));
  return values;
}

/// The parameters are those of the fixture's file, whose tensors' names have no prefix, or begin with
/// `prefix`; and the temperature's.
inline void expect_parameters_of(const CheckpointReader& found, const std::filesystem::path& fixture,
                                 const std::string& prefix = "") {
  const SafetensorsReader expected(fixture / "model/model.safetensors");
  for (const TensorView& tensor : found.table().tensors()) {
    std::vector<float> values(static_cast<std::size_t>(tensor.size));
    found.read_tensor(tensor, std::span(values));
    const std::string name = pretrained_tensor_name(found.meta().encoder.architecture, tensor.name);
    const bool is_loss = tensor.name == "loss.log_temperature";
    EXPECT_EQ(values, is_loss ? std::vector<float>{0} : values_of(expected, prefix + name)) << tensor.name;
  }
}

/// To `tolerance` of the largest value of the tensor.
template <class T>
void expect_near(std::span<const T> found, const SafetensorsReader& expected, const std::string& name,
                 double tolerance) {
  const std::vector<double> values = values_of<double>(expected, name);
  ASSERT_EQ(found.size(), values.size()) << name;
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  // The gradient by a key's bias is zero; what transformers has there is rounding.
  largest = std::max(largest, 1e-3);
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_NEAR(found[i], values[i], tolerance * largest) << name << " " << i;
  }
}

/// Hidden states, embeddings and gradients of all parameters.
template <class T>
void expect_transformers_results(const CheckpointReader& model, const std::filesystem::path& fixture,
                                 double tolerance) {
  const SafetensorsReader expected(fixture / "results.safetensors");
  const TokenPass<T> pass = pass_over_tokens<T>(model, read_token_lines(fixture / "tokens.txt"));
  expect_near(std::span<const T>(pass.hidden), expected, "hidden", tolerance);
  expect_near(std::span<const T>(pass.embeddings), expected, "embeddings", tolerance);
  for (const TensorView& tensor : model.table().tensors()) {
    if (tensor.name == "loss.log_temperature") continue;
    const auto gradient =
        std::span<const T>(pass.gradient)
            .subspan(static_cast<std::size_t>(tensor.offset), static_cast<std::size_t>(tensor.size));
    expect_near(gradient, expected, pretrained_tensor_name(model.meta().encoder.architecture, tensor.name),
                tolerance);
  }
}

}  // namespace toller
