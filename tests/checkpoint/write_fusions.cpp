// write_fusions FIXTURE FOLDER: the fixture's models and their fusions as checkpoints, for
// fusion_reference.py.
#include <cstdio>
#include <exception>

#include <fmt/format.h>

#include "fusion_fixture.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    const std::filesystem::path folder = argv[2];
    const toller::FusionFixture fixture = toller::read_fusion_fixture(argv[1]);
    toller::write_models<float>(fixture, folder);
    for (std::size_t index = 0; index < fixture.cases.size(); ++index) {
      toller::run_case(fixture.cases[index], folder, folder / fmt::format("fused-{}.h5", index));
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "write_fusions: %s\n", error.what());
    return 1;
  }
}
