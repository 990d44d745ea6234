// What every collective must give, in closed form: each rank brings small whole numbers made from its rank
// and the position, so that sums are exact in any order and can be written down without adding.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "comm/communicator.h"

namespace toller {

/// Rank r's element i: r·(i mod 7) + i mod 11 + 1. Over n ranks it adds to n(n−1)/2·(i mod 7) + n·(i mod 11 +
/// 1).
template <class T>
T brought(int rank, std::size_t i) {
  return static_cast<T>(rank * static_cast<int>(i % 7) + static_cast<int>(i % 11) + 1);
}

template <class T>
T summed(int ranks, std::size_t i) {
  return static_cast<T>(ranks * (ranks - 1) / 2 * static_cast<int>(i % 7) +
                        ranks * (static_cast<int>(i % 11) + 1));
}

template <class T>
void expect_sum(Communicator& c, std::size_t length) {
  std::vector<T> data(length);
  for (std::size_t i = 0; i < length; ++i) data[i] = brought<T>(c.rank(), i);
  c.all_reduce_sum(std::span<T>(data));
  for (std::size_t i = 0; i < length; ++i) ASSERT_EQ(data[i], summed<T>(c.size(), i)) << "element " << i;
}

inline void expect_max(Communicator& c) {
  // The largest stands on the first, the last and every rank; one value needs all 64 bits.
  const std::int64_t r = c.rank();
  std::vector<std::int64_t> data{-r, r, 5, (std::int64_t{1} << 62) + r};
  c.all_reduce_max(data);
  const std::int64_t last = c.size() - 1;
  EXPECT_EQ(data, (std::vector<std::int64_t>{0, last, 5, (std::int64_t{1} << 62) + last}));
}

/// Shares of different lengths; then some of none at the start, in the middle and at the end; then none at
/// all.
inline std::vector<std::vector<std::int64_t>> uneven_counts(int ranks) {
  std::vector<std::vector<std::int64_t>> cases(5);
  for (int r = 0; r < ranks; ++r) {
    cases[0].push_back(3 * r + 2);
    cases[1].push_back(r % 2 == 0 ? 0 : 4);
    cases[2].push_back(r == 0 ? 5 : 0);
    cases[3].push_back(r == ranks - 1 ? 1 : 0);
    cases[4].push_back(0);
  }
  return cases;
}

inline std::int64_t total(std::span<const std::int64_t> counts, int ranks) {
  std::int64_t sum = 0;
  for (int r = 0; r < ranks; ++r) sum += counts[static_cast<std::size_t>(r)];
  return sum;
}

template <class T>
void expect_gather(Communicator& c, const std::vector<std::int64_t>& counts) {
  std::vector<T> local(static_cast<std::size_t>(counts[static_cast<std::size_t>(c.rank())]));
  for (std::size_t i = 0; i < local.size(); ++i)
    local[i] = static_cast<T>(1000 * c.rank()) + static_cast<T>(i);
  std::vector<T> all(static_cast<std::size_t>(total(counts, c.size())), T(-1));
  c.all_gather(std::span<const T>(local), counts, std::span<T>(all));
  std::size_t at = 0;
  for (int r = 0; r < c.size(); ++r) {
    for (std::int64_t i = 0; i < counts[static_cast<std::size_t>(r)]; ++i, ++at) {
      ASSERT_EQ(all[at], static_cast<T>(1000 * r + i)) << "element " << i << " of rank " << r;
    }
  }
}

/// Every rank's part stands in `all` already.
template <class T>
void expect_gather_in_place(Communicator& c, const std::vector<std::int64_t>& counts) {
  std::vector<T> expected, all(static_cast<std::size_t>(total(counts, c.size())), T{9});
  for (int r = 0; r < c.size(); ++r)
    expected.insert(expected.end(), static_cast<std::size_t>(counts[static_cast<std::size_t>(r)]), T(r));
  const auto begin = static_cast<std::size_t>(total(counts, c.rank()));
  const auto own = static_cast<std::size_t>(counts[static_cast<std::size_t>(c.rank())]);
  const std::span<T> local = std::span<T>(all).subspan(begin, own);
  std::ranges::fill(local, T(c.rank()));
  c.all_gather(std::span<const T>(local), counts, std::span<T>(all));
  ASSERT_EQ(all, expected);
}

/// The sums may replace this rank's block.
template <class T>
void expect_scatter_in_place(Communicator& c, const std::vector<std::int64_t>& counts) {
  std::vector<T> all(static_cast<std::size_t>(total(counts, c.size())));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = brought<T>(c.rank(), i);
  const auto begin = static_cast<std::size_t>(total(counts, c.rank()));
  const auto own = static_cast<std::size_t>(counts[static_cast<std::size_t>(c.rank())]);
  const std::span<T> local = std::span<T>(all).subspan(begin, own);
  c.reduce_scatter_sum(std::span<const T>(all), counts, local);
  for (std::size_t i = 0; i < own; ++i)
    ASSERT_EQ(local[i], summed<T>(c.size(), begin + i)) << "element " << i;
}

template <class T>
void expect_scatter(Communicator& c, const std::vector<std::int64_t>& counts) {
  std::vector<T> all(static_cast<std::size_t>(total(counts, c.size())));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = brought<T>(c.rank(), i);
  std::vector<T> local(static_cast<std::size_t>(counts[static_cast<std::size_t>(c.rank())]), T{-1});
  c.reduce_scatter_sum(std::span<const T>(all), counts, std::span<T>(local));
  const auto begin = static_cast<std::size_t>(total(counts, c.rank()));
  for (std::size_t i = 0; i < local.size(); ++i) {
    ASSERT_EQ(local[i], summed<T>(c.size(), begin + i)) << "element " << i << " of rank " << c.rank();
  }
}

inline void expect_broadcast(Communicator& c) {
  for (int root = 0; root < c.size(); ++root) {
    std::vector<std::uint8_t> data{static_cast<std::uint8_t>(c.rank()),
                                   static_cast<std::uint8_t>(200 + c.rank())};
    c.broadcast(data, root);
    EXPECT_EQ(data, (std::vector{static_cast<std::uint8_t>(root), static_cast<std::uint8_t>(200 + root)}));
  }
  c.broadcast({}, 0);
}

}  // namespace toller
