// One list and those who compute it. A team is one thread of the CPU, or the threads of a block of a GPU; all
// of them call the functions of this folder, with the same arguments, and thread t takes the documents t, t +
// threads, t + 2 · threads, …. A team has
//   thread(), threads()   who is calling, of how many
//   sync()                what the team wrote before is seen by all of it
//   sum(double), max(double)   over the team; the same number for every thread, added up in a fixed order
// Arrays are shared by the team. Where a function is done the team's last results may not have been seen by
// others: call sync() before another thread's elements are read.
#pragma once

#include <cmath>
#include <cstdint>

#include "device/lists/list_loss.h"
#include "host_device.h"

namespace toller {

/// Room of a team, [size] elements each.
struct ListWork {
  double *a, *b, *c, *d;
  std::int32_t *place, *order;
};

/// Bytes of a document's elements in ListWork.
inline constexpr std::int64_t kListWorkBytes = 4 * sizeof(double) + 2 * sizeof(std::int32_t);

/// ListWork in memory aligned to 8 bytes.
TOLLER_HOST_DEVICE inline ListWork make_list_work(void* memory, std::int64_t size) {
  double* reals = static_cast<double*>(memory);
  std::int32_t* integers = reinterpret_cast<std::int32_t*>(reals + 4 * size);
  return {reals, reals + size, reals + 2 * size, reals + 3 * size, integers, integers + size};
}

/// One list. `gradient` [size] is overwritten with the derivatives of the list's value by its scores.
struct ScoreList {
  std::int64_t size;
  const double* score;
  const std::int32_t* grade;
  const float* teacher;
  double* gradient;
  ListWork work;
  std::int64_t query;  ///< number in the global batch
};

/// log(1 + e^x) and its derivative.
TOLLER_HOST_DEVICE inline double list_softplus(double x) {
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}
TOLLER_HOST_DEVICE inline double list_sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

/// Gain of a grade, as in the evaluation: 2^y − 1. Grades above 60 count as 60.
TOLLER_HOST_DEVICE inline double list_gain(std::int32_t grade) {
  return std::exp2(grade < 60 ? static_cast<double>(grade) : 60.0) - 1;
}

/// body(k) for the documents of this thread.
template <class Team, class Body>
TOLLER_HOST_DEVICE inline void for_documents(const Team& team, std::int64_t size, Body body) {
  for (std::int64_t k = team.thread(); k < size; k += team.threads()) body(k);
}

template <class Team, class Number>
TOLLER_HOST_DEVICE inline double list_sum(const Team& team, std::int64_t size, Number number) {
  double sum = 0;
  for (std::int64_t k = team.thread(); k < size; k += team.threads()) sum += number(k);
  return team.sum(sum);
}

/// NaN is left out.
template <class Team, class Number>
TOLLER_HOST_DEVICE inline double list_max(const Team& team, std::int64_t size, Number number) {
  double max = -INFINITY;
  for (std::int64_t k = team.thread(); k < size; k += team.threads()) {
    const double x = number(k);
    max = x > max ? x : max;
  }
  return team.max(max);
}

/// place [size] = how many keys are larger, or equal and further in front: 0, 1, … in some order. No key is
/// NaN.
template <class Team, class Key>
TOLLER_HOST_DEVICE inline void rank_descending(const Team& team, std::int64_t size, const Key* key,
                                               std::int32_t* place) {
  for_documents(team, size, [&](std::int64_t k) {
    std::int32_t before = 0;
    for (std::int64_t l = 0; l < k; ++l) before += key[l] >= key[k];
    for (std::int64_t l = k + 1; l < size; ++l) before += key[l] > key[k];
    place[k] = before;
  });
}

/// rank [size] = 1, 2, … by descending grade; documents of one grade share the mean of their ranks.
template <class Team>
TOLLER_HOST_DEVICE inline void rank_by_grade(const Team& team, const ScoreList& list, double* rank) {
  for_documents(team, list.size, [&](std::int64_t k) {
    std::int32_t higher = 0, equal = 0;
    for (std::int64_t l = 0; l < list.size; ++l) {
      higher += list.grade[l] > list.grade[k];
      equal += list.grade[l] == list.grade[k];
    }
    rank[k] = 1 + higher + 0.5 * (equal - 1);
  });
}

/// A number that can be sorted: NaN comes last.
TOLLER_HOST_DEVICE inline double sortable(double x) {
  return x == x ? x : -INFINITY;
}

}  // namespace toller
