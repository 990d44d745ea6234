// Lists of documents on the device against the CPU's: the same arithmetic in double, only sums in another
// order.
#include "cuda/list_loss.cuh"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "cuda/device_array.h"
#include "cuda/elementwise.cuh"
#include "cuda/scalars.cuh"
#include "device/score_ops.h"
#include "error.h"

namespace toller {
namespace {

/// Sums in double of some hundred terms, and exponentials of arguments up to 2/τ = 400.
constexpr double kDoubleError = 1e-12;

/// Lists of these lengths, of different queries; columns in reverse, some of them nobody's.
struct HostLists {
  std::vector<std::int64_t> offsets{0};
  std::vector<std::int32_t> query, column, grade;
  std::vector<float> teacher;
  std::int64_t queries = 0, candidates = 0, longest = 0;
};

HostLists make_lists(const std::vector<std::int64_t>& lengths) {
  HostLists lists;
  std::mt19937 generator(7);
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    lists.query.push_back(static_cast<std::int32_t>(2 * i + 1));
    for (std::int64_t k = 0; k < lengths[i]; ++k) {
      lists.grade.push_back(k < 2 ? static_cast<std::int32_t>(k)
                                  : static_cast<std::int32_t>(generator() % 4));
      lists.teacher.push_back(static_cast<float>(generator() % 256) / 64);
    }
    lists.offsets.push_back(static_cast<std::int64_t>(lists.grade.size()));
    lists.longest = std::max(lists.longest, lengths[i]);
  }
  lists.queries = static_cast<std::int64_t>(2 * lengths.size() + 1);
  lists.candidates = lists.offsets.back() + 3;
  for (std::int64_t k = 0; k < lists.offsets.back(); ++k) {
    lists.column.push_back(static_cast<std::int32_t>(lists.candidates - 2 - k));
  }
  return lists;
}

ScoreLists view(const HostLists& lists) {
  return {static_cast<std::int64_t>(lists.query.size()),
          lists.offsets.back(),
          lists.longest,
          lists.offsets.data(),
          lists.query.data(),
          lists.column.data(),
          lists.grade.data(),
          lists.teacher.data()};
}

/// The lists on the device.
class DeviceLists {
 public:
  explicit DeviceLists(const HostLists& lists)
      : host_(view(lists)),
        offsets_(lists.offsets),
        query_(lists.query),
        column_(lists.column),
        grade_(lists.grade),
        teacher_(lists.teacher) {}
  ScoreLists view_on_device() {
    return {host_.lists,   host_.documents, host_.longest, offsets_.data(),
            query_.data(), column_.data(),  grade_.data(), teacher_.data()};
  }

 private:
  ScoreLists host_;
  DeviceArray<std::int64_t> offsets_;
  DeviceArray<std::int32_t> query_, column_, grade_;
  DeviceArray<float> teacher_;
};

void expect_close(const std::vector<double>& result, const std::vector<double>& reference) {
  ASSERT_EQ(result.size(), reference.size());
  const double size = typical_size(reference);
  for (std::size_t i = 0; i < result.size(); ++i) {
    ASSERT_LE(std::abs(result[i] - reference[i]), kDoubleError * (std::abs(reference[i]) + size))
        << i << ": " << result[i] << ", the CPU has " << reference[i];
  }
}

void compare_losses(const HostLists& lists, const ListLossSetup& setup, double temperature) {
  std::vector<double> score = random_numbers<float>(lists.offsets.back(), 3);
  for (double& s : score) s = std::tanh(s);
  score[1] = score[0];  // a tie
  const auto n = static_cast<std::int64_t>(score.size());
  const double inverse = 1 / temperature;
  std::vector<double> gradient(score.size(), NAN), totals(2, NAN);
  make_cpu_score_ops<double>()->list_losses(setup, view(lists), score.data(), &inverse, gradient.data(),
                                            totals.data());
  DeviceLists device(lists);
  DeviceArray<double> device_score(score), device_inverse(std::vector<double>{inverse});
  DeviceArray<double> device_gradient(n), device_totals(2), workspace(list_losses_workspace(n));
  list_losses(setup, device.view_on_device(), device_score.data(), device_inverse.data(),
              device_gradient.data(), device_totals.data(), workspace.data(), nullptr);
  expect_close(device_gradient.values(), gradient);
  expect_close(device_totals.values(), totals);
}

const std::vector<ListLossOptions>& all_losses() {
  using enum ListLossKind;
  static const std::vector<ListLossOptions> all = {
      {.kind = kListNet},
      {.kind = kListMle},
      {.kind = kKl, .teacher_temperature = 0.7},
      {.kind = kRankNet, .scale = 5},
      {.kind = kWeightedRankNet, .scale = 5},
      {.kind = kLambda, .scale = 5},
      {.kind = kIrpo, .scale = 5},
      {.kind = kBpr, .scale = 1},
      {.kind = kReverseBpr, .scale = 1},
      {.kind = kMarginMse},
      {.kind = kHinge},
      {.kind = kHinge, .margin = 0.4, .negatives = HingeNegatives::kHardest},
      {.kind = kHinge, .margin = 0.4, .negatives = HingeNegatives::kSemiHard},
      {.kind = kPgRank, .samples = 5, .cutoff = 3, .seed = 9},
      {.kind = kPgRank, .samples = 3, .cutoff = 2000}};
  return all;
}

TEST(ListLossesOnTheDevice, AreTheCpus) {
  const HostLists warp = make_lists({2, 5, 31, 32, 33, 48, 3}), block = make_lists({2, 100, 49, 3});
  in_both_thread_orders([&] {
    for (const ListLossOptions& options : all_losses()) {
      SCOPED_TRACE(static_cast<int>(options.kind));
      for (const double temperature : {1.0, 0.05}) {
        compare_losses(warp, {options, 4, 100}, temperature);
        compare_losses(block, {options, 4, 100}, temperature);
      }
    }
  });
}

TEST(ListLossesOnTheDevice, TakeTheLongestList) {
  const HostLists lists = make_lists({kLongestDeviceList, 2});
  for (const ListLossOptions& options : all_losses()) {
    SCOPED_TRACE(static_cast<int>(options.kind));
    compare_losses(lists, {options, 0, 0}, 0.05);
  }
  const HostLists longer = make_lists({kLongestDeviceList + 1});
  EXPECT_THROW(compare_losses(longer, {all_losses()[0], 0, 0}, 1), Error);
}

TEST(ListLossesOnTheDevice, OfNoListsAreZero) {
  const HostLists none = make_lists({});
  DeviceArray<std::int64_t> offsets(none.offsets);
  DeviceArray<double> totals(2);
  list_losses({all_losses()[0], 0, 0}, {.offsets = offsets.data()}, nullptr, nullptr, nullptr, totals.data(),
              nullptr, nullptr);
  EXPECT_EQ(totals.values(), (std::vector<double>{0, 0}));
}

// NaN neither stops a kernel nor leads it astray.
TEST(ListLossesOnTheDevice, GiveNaNForNaN) {
  const HostLists lists = make_lists({5, 60});
  DeviceLists device(lists);
  for (const ListLossOptions& options : all_losses()) {
    SCOPED_TRACE(static_cast<int>(options.kind));
    std::vector<double> score(65, 0.5);
    score[3] = score[40] = NAN;
    DeviceArray<double> device_score(score), inverse(std::vector<double>{10}), gradient(65), totals(2),
        workspace(list_losses_workspace(2));
    list_losses({options, 0, 0}, device.view_on_device(), device_score.data(), inverse.data(),
                gradient.data(), totals.data(), workspace.data(), nullptr);
    EXPECT_TRUE(std::isnan(totals.values()[0]));
  }
}

template <class T>
class ListEmbeddingsOnTheDevice : public testing::Test {};
TYPED_TEST_SUITE(ListEmbeddingsOnTheDevice, StorageTypes);

TYPED_TEST(ListEmbeddingsOnTheDevice, AreTheCpus) {
  using T = TypeParam;
  const HostLists lists = make_lists({2, 5, 40, 1});
  for (const std::int64_t d : {1, 31, 100, 300}) {
    SCOPED_TRACE(d);
    const std::vector<double> query = random_numbers<T>(lists.queries * d, 1);
    const std::vector<double> document = random_numbers<T>(lists.candidates * d, 2);
    const std::vector<double> slope = random_numbers<float>(lists.offsets.back(), 3);
    const auto cpu = make_cpu_score_ops<double>();
    std::vector<double> score(slope.size(), NAN), d_query(query.size(), 7), d_document(document.size(), 7);
    cpu->list_scores(view(lists), d, query.data(), document.data(), score.data());
    const double count = 3;
    cpu->list_embedding_gradients(view(lists), d, slope.data(), &count, query.data(), document.data(),
                                  d_query.data(), d_document.data());
    in_both_thread_orders([&] {
      DeviceLists device(lists);
      auto q = on_device<T>(query), x = on_device<T>(document);
      DeviceArray<double> s(static_cast<std::int64_t>(score.size())), g(slope), n(std::vector<double>{count});
      list_scores(device.view_on_device(), d, q.data(), x.data(), s.data(), nullptr);
      expect_close(s.values(), score);
      auto dq = on_device<float>(std::vector(query.size(), 7.0));
      auto dx = on_device<float>(std::vector(document.size(), 7.0));
      list_embedding_gradients(device.view_on_device(), d, g.data(), n.data(), q.data(), x.data(), dq.data(),
                               dx.data(), nullptr);
      expect_near<float>(dq.doubles(), d_query, "queries");
      expect_near<float>(dx.doubles(), d_document, "documents");
    });
  }
}

TEST(AddScaledOnTheDevice, AddsWhatItIsGiven) {
  for (const std::int64_t n : {0, 1, 3, 4, 1023, 4096, 4099, 9001}) {
    for (const std::int64_t offset : {0, 1}) {
      auto x = on_device<float>(random_numbers<float>(n + 2, 1)),
           y = on_device<float>(random_numbers<float>(n + 2, 2));
      const std::vector<float> added = x.values(), before = y.values();
      add_scaled(n, 0.3f, x.data() + offset, y.data() + offset, nullptr);
      const std::vector<float> after = y.values();
      for (std::int64_t i = 0; i < n + 2; ++i) {
        const bool inside = i >= offset && i < n + offset;
        const float expected = inside ? std::fma(0.3f, added[i], before[i]) : before[i];
        ASSERT_NEAR(after[i], expected, inside ? 0x1p-22 * (std::abs(added[i]) + std::abs(before[i])) : 0)
            << i;
      }
    }
  }
}

TEST(NumbersOnTheDevice, AreDividedAndAdded) {
  DeviceArray<double> x(std::vector<double>{3}), count(std::vector<double>{4}), none(std::vector<double>{0}),
      y(1);
  divide(x.data(), count.data(), y.data(), nullptr);
  EXPECT_EQ(y.values()[0], 0.75);
  add_scaled_number(-0.5, x.data(), y.data(), nullptr);
  EXPECT_EQ(y.values()[0], -0.75);
  divide(x.data(), none.data(), y.data(), nullptr);
  EXPECT_EQ(y.values()[0], 0);
  add_log(-0.5, x.data(), y.data(), nullptr);
  EXPECT_NEAR(y.values()[0], -0.5 * std::log(3), 1e-15);
  add_log(1, none.data(), y.data(), nullptr);
  EXPECT_EQ(y.values()[0], -std::numeric_limits<double>::infinity());
}

}  // namespace
}  // namespace toller
