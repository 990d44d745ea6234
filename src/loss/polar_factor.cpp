// Scaled Newton–Schulz (Chen & Chow, A Stable Scaling of Newton–Schulz for Improving the Sign Function
// Computation of a Hermitian Matrix, 2014). A step is an odd cubic in the singular values, which has the same
// value at both ends of an interval [low, high]:
//   p(s) = scale · (3/2 α s − 1/2 (α s)³),   α² = 3 / (high² + high · low + low²),
// scale = 2 / (1 + p(low)/scale) so that the images lie around 1. With low far below high, p takes the
// largest singular value to one as small as the smallest, and rounding errors with it; so α is made as if low
// were high/10 at least, which leaves the largest at a quarter of the maximum.
#include "loss/polar_factor.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "element.h"

namespace toller {

std::vector<PolarStep> polar_steps(double tolerance) {
  std::vector<PolarStep> steps;
  double low = tolerance, high = 1;
  do {
    const double end = std::max(low, high / 10);
    const double alpha = std::sqrt(3 / (high * high + high * end + end * end));
    const double least = alpha * low * (1.5 - 0.5 * alpha * low * alpha * low);
    const double scale = 2 / (1 + least);
    steps.push_back({1.5 * alpha * scale, -0.5 * alpha * alpha * alpha * scale});
    low = scale * least;
    high = scale;
  } while (high - low > 4e-16);
  return steps;
}

template <class T>
typename PolarFactor<T>::Memory PolarFactor<T>::take_memory(std::int64_t rows, std::int64_t n,
                                                            Arena& arena) const {
  return {rows, n, arena.take<double>(rows * n), arena.take<double>(n * n), arena.take<double>(1)};
}

template <class T>
double* PolarFactor<T>::compute(double* a, const Memory& memory, TensorCommunicator& communicator) const {
  const std::int64_t rows = memory.rows, n = memory.n;
  score_ops_.inner_product(rows * n, a, a, memory.squared_norm);
  communicator.all_reduce_sum(memory.squared_norm, 1);
  score_ops_.divide_by_norm(rows * n, memory.squared_norm, a);
  double *now = a, *next = memory.next;
  for (const PolarStep& step : steps_) {
    score_ops_.gram(rows, n, step.cubic, now, memory.gram);
    communicator.all_reduce_sum(memory.gram, n * n);
    score_ops_.add_to_diagonal(n, step.linear, memory.gram);
    score_ops_.multiply(rows, n, now, memory.gram, next);
    std::swap(now, next);
  }
  return now;
}

template class PolarFactor<BFloat16>;
template class PolarFactor<float>;
template class PolarFactor<double>;

}  // namespace toller
