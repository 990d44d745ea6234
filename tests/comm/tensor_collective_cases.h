// What every collective of a TensorCommunicator must give, whatever memory it works on: Array<T> is made from
// a vector, has data() and gives its values(). The numbers are those of collective_cases.h: sums are exact.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "comm/collective_cases.h"
#include "comm/tensor_communicator.h"

namespace toller {

inline bool operator==(BFloat16 a, BFloat16 b) {
  return a.bits == b.bits;
}

/// A value that tells rank and place.
template <class T>
T marked(int rank, std::int64_t i) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return {static_cast<std::uint16_t>(0x4000 + 1000 * rank + i)};
  } else {
    return static_cast<T>(1000 * rank + i);
  }
}

/// Shares of one length, of none, and uneven ones.
inline std::vector<std::vector<std::int64_t>> share_cases(int ranks) {
  auto cases = uneven_counts(ranks);
  cases.emplace_back(static_cast<std::size_t>(ranks), 1);
  cases.emplace_back(static_cast<std::size_t>(ranks), 37);
  return cases;
}

template <template <class> class Array, class T>
void expect_tensor_gather(TensorCommunicator& c, const std::vector<std::int64_t>& counts, bool in_place) {
  const std::int64_t own = counts[static_cast<std::size_t>(c.rank())], begin = total(counts, c.rank());
  std::vector<T> brought_values, expected;
  for (std::int64_t i = 0; i < own; ++i) brought_values.push_back(marked<T>(c.rank(), i));
  for (int r = 0; r < c.size(); ++r) {
    for (std::int64_t i = 0; i < counts[static_cast<std::size_t>(r)]; ++i)
      expected.push_back(marked<T>(r, i));
  }
  std::vector<T> before(expected.size(), marked<T>(9, 0));
  if (in_place) std::copy(brought_values.begin(), brought_values.end(), before.begin() + begin);
  Array<T> local(brought_values), all(before);
  c.all_gather(static_cast<const T*>(in_place ? all.data() + begin : local.data()), counts, all.data());
  EXPECT_TRUE(all.values() == expected) << "rank " << c.rank() << " of " << c.size();
  EXPECT_TRUE(local.values() == brought_values);
}

template <template <class> class Array, class T>
void expect_tensor_scatter(TensorCommunicator& c, const std::vector<std::int64_t>& counts, bool in_place,
                           bool started) {
  const std::int64_t own = counts[static_cast<std::size_t>(c.rank())], begin = total(counts, c.rank());
  std::vector<T> terms(static_cast<std::size_t>(total(counts, c.size()))), expected;
  for (std::size_t i = 0; i < terms.size(); ++i) terms[i] = brought<T>(c.rank(), i);
  for (std::int64_t i = 0; i < own; ++i)
    expected.push_back(summed<T>(c.size(), static_cast<std::size_t>(begin + i)));
  Array<T> all(terms), local(std::vector<T>(static_cast<std::size_t>(own), T{-1}));
  T* target = in_place ? all.data() + begin : local.data();
  if (started) {
    c.start_reduce_scatter_sum(all.data(), counts, target);
    c.finish_sums();
  } else {
    c.reduce_scatter_sum(all.data(), counts, target);
  }
  std::vector<T> result = local.values();
  if (in_place) {
    result = all.values();
    result = std::vector<T>(result.begin() + begin, result.begin() + begin + own);
  }
  EXPECT_EQ(result, expected) << "rank " << c.rank() << " of " << c.size();
}

template <template <class> class Array, class T>
void expect_tensor_sum(TensorCommunicator& c, std::int64_t n) {
  std::vector<T> terms, expected;
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
    terms.push_back(brought<T>(c.rank(), i));
    expected.push_back(summed<T>(c.size(), i));
  }
  Array<T> data(terms);
  c.all_reduce_sum(data.data(), n);
  EXPECT_EQ(data.values(), expected);

  // Started in two pieces, with other collectives between.
  Array<T> pieces(terms), other(terms);
  const std::int64_t half = n / 2;
  c.start_all_reduce_sum(pieces.data() + half, n - half);
  c.all_reduce_max(other.data(), n);
  c.start_all_reduce_sum(pieces.data(), half);
  c.finish_sums();
  EXPECT_EQ(pieces.values(), expected);
  c.finish_sums();
}

template <template <class> class Array, class T>
void expect_tensor_max(TensorCommunicator& c) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  const T r = static_cast<T>(c.rank()), last = static_cast<T>(c.size() - 1);
  const T tiny = std::numeric_limits<T>::denorm_min(), close = std::nextafter(T{1}, T{2});
  const bool first = c.rank() == 0;
  Array<T> data(std::vector<T>{r, -r, -1 - r, first ? -infinity : -r, first ? infinity : r,
                               first ? tiny : T{0}, first ? close : T{1}, first ? T{-1} : -close});
  c.all_reduce_max(data.data(), 8);
  const bool alone = c.size() == 1;
  EXPECT_EQ(data.values(), (std::vector<T>{last, 0, -1, alone ? -infinity : -1, infinity, tiny, close, -1}));
}

/// Everything on this rank.
template <template <class> class Array>
void expect_tensor_collectives(TensorCommunicator& c) {
  for (const auto& counts : share_cases(c.size())) {
    for (const bool in_place : {false, true}) {
      expect_tensor_gather<Array, float>(c, counts, in_place);
      expect_tensor_gather<Array, double>(c, counts, in_place);
      expect_tensor_gather<Array, BFloat16>(c, counts, in_place);
      for (const bool started : {false, true}) {
        expect_tensor_scatter<Array, float>(c, counts, in_place, started);
        expect_tensor_scatter<Array, double>(c, counts, in_place, started);
      }
    }
  }
  for (const std::int64_t n : {0, 1, 5, 1000}) {
    expect_tensor_sum<Array, float>(c, n);
    expect_tensor_sum<Array, double>(c, n);
  }
  expect_tensor_max<Array, float>(c);
  expect_tensor_max<Array, double>(c);
}

}  // namespace toller
