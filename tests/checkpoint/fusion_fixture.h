// Small models and their fusions as tests/reference/fusion_reference.py computed them.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/fusion.h"

namespace toller {

/// All parameters of a model, in the order of its table.
using FlatModel = std::vector<double>;

struct FusionCase {
  FusionOptions options;
  std::vector<std::string> models;
  std::vector<double> mean_weights;
  FlatModel expected;
};

struct FusionFixture {
  EncoderConfig encoder;
  std::map<std::string, FlatModel> models;  ///< "base" and others
  std::vector<FusionCase> cases;
};

FusionFixture read_fusion_fixture(const std::filesystem::path& path);

/// Writes FOLDER/<name>.h5 for every model, with values of type T.
template <class T>
void write_models(const FusionFixture& fixture, const std::filesystem::path& folder);

/// Fuses models that write_models wrote.
FusionSummary run_case(const FusionCase& fusion, const std::filesystem::path& folder,
                       const std::filesystem::path& out);

}  // namespace toller
