// What a loss takes: threads that must not change it, and memory that must stay small.
#pragma once

#include <omp.h>
#include <sys/resource.h>

#include "loss/loss_problem.h"

namespace toller {

/// compute() with that many threads.
template <class Compute>
LossResult with_threads(int threads, const Compute& compute) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(threads);
  const LossResult result = compute();
  omp_set_num_threads(before);
  return result;
}

/// compute() gives the same with one thread and with three, and the same bits every time.
template <class Compute>
void expect_threads_do_not_matter(const Compute& compute, double tolerance) {
  const LossResult one = with_threads(1, compute), three = with_threads(3, compute);
  expect_equal(three, one, tolerance);
  expect_same_bits(with_threads(3, compute), three);
}

/// The most memory that this process has had.
inline std::int64_t peak_kib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

/// compute() gives a value above 0 and takes less than that beyond what the process has had.
template <class Compute>
void expect_less_memory(std::int64_t kib, const Compute& compute) {
  const std::int64_t before = peak_kib();
  EXPECT_GT(compute().value, 0);
  EXPECT_LT(peak_kib() - before, kib);
}

}  // namespace toller
