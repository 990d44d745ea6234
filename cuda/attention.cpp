#include "cuda/attention.cuh"

#include "error.h"

namespace toller {

void check_head_size(std::int64_t size) {
  if (size == 32 || size == 64 || size == 128) return;
  fail(
      "attention on a GPU takes heads of 32, 64 or 128 columns, not {}; use another number of heads, or "
      "--device cpu",
      size);
}

}  // namespace toller
