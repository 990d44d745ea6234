// The similarity losses on the GPU backend against the CPU backend in double on the same numbers.
#include <gtest/gtest.h>

#include "cuda/gpu_loss.h"
#include "loss/similarity_problem.h"

namespace toller {
namespace {

// Scores, and all that comes of them, are double on both. Only the derivatives of embeddings are rounded, to
// float.
template <class T>
class SimilarityOnTheGpu : public testing::Test {};
using Elements = testing::Types<float, BFloat16>;
TYPED_TEST_SUITE(SimilarityOnTheGpu, Elements);

TYPED_TEST(SimilarityOnTheGpu, IsTheCpus) {
  const LossProblem problem = rounded_problem<TypeParam>(random_pairs(37, 12, 0.05));
  for (const SimilarityKind kind : similarity_kinds()) {
    SCOPED_TRACE(similarity_name(kind));
    const auto make = with_options(make_similarity_loss<TypeParam>, {.kind = kind});
    const LossResult expected = similarity_loss<double>(problem, {.kind = kind});
    expect_equal(queued_gpu_loss_of<TypeParam>(problem, make), expected, 1e-6);
    expect_equal(gpu_loss_of<TypeParam>(problem, make, {10, 0, 27}), expected, 1e-6);
  }
}

TYPED_TEST(SimilarityOnTheGpu, RepeatsItsBits) {
  const LossProblem problem = random_pairs(20, 8, 0.05);
  for (const SimilarityKind kind : similarity_kinds()) {
    const auto make = with_options(make_similarity_loss<TypeParam>, {.kind = kind});
    const auto compute = [&] { return gpu_loss_of<TypeParam>(problem, make, {12, 8}); };
    expect_same_bits(compute(), compute());
  }
}

}  // namespace
}  // namespace toller
