// A libFuzzer program: tries TOLLER_FUZZ_TARGET, one of the functions of hostile_input.h, on bytes that reach
// new branches of it (tests/fuzz/run.sh).
#include "fuzz/hostile_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  toller::TOLLER_FUZZ_TARGET({bytes, size});
  return 0;
}
