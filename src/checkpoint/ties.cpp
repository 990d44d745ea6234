#include <algorithm>
#include <bit>
#include <cmath>

#include "checkpoint/fusion_rule.h"

namespace toller {
namespace {

constexpr int kDigitBits = 13;
constexpr std::size_t kDigits = std::size_t{1} << kDigitBits;

/// Finds the n-th largest of many magnitudes without holding them: the bits of a double that is not negative
/// order as it does, and each pass over the magnitudes fixes the next 13 bits from a histogram (radix
/// selection).
class NthLargest {
 public:
  explicit NthLargest(double n) : left_(n) {}

  bool is_found() const { return shift_ == 0 || whole_; }
  /// Not less than this are the n largest, and those equal to the least of them.
  double value() const { return std::bit_cast<double>(prefix_ << shift_); }

  void count(double magnitude, std::span<double> histogram) const {
    const auto bits = std::bit_cast<std::uint64_t>(magnitude);
    const int next = shift_ - kDigitBits;
    // The first pass has no prefix; nothing may be shifted by all of its 64 bits or more.
    if (shift_ == kAllBits || bits >> shift_ == prefix_) histogram[(bits >> next) % kDigits] += 1;
  }

  void choose(std::span<const double> histogram) {
    std::size_t digit = kDigits - 1;
    while (histogram[digit] < left_ && digit > 0) left_ -= histogram[digit--];
    // All that begin like this are among the n largest: their other bits do not matter.
    whole_ = histogram[digit] == left_;
    prefix_ = (prefix_ << kDigitBits) | digit;
    shift_ -= kDigitBits;
  }

 private:
  static constexpr int kAllBits = 5 * kDigitBits;  ///< one more than a double has

  double left_;  ///< how many of those that begin with the prefix are among the n largest; exact
  std::uint64_t prefix_ = 0;
  int shift_ = kAllBits;
  bool whole_ = false;
};

class Ties final : public FusionRule {
 public:
  explicit Ties(const FusionTask& task) : task_(task) {
    const std::vector<BlockPlace>& blocks = task.sources.blocks();
    for (std::size_t first = 0; first < blocks.size();) {
      std::size_t last = first;
      while (last < blocks.size() && blocks[last].tensor == blocks[first].tensor) ++last;
      thresholds_.push_back(find_thresholds(first, last));
      first = last;
    }
  }

  void fuse(const FusionBlock& block, std::span<double> fused, std::span<double> totals) const override {
    std::vector<double> kept(task_.sources.size());
    for (std::size_t i = 0; i < block.size(); ++i) {
      double sum = 0;
      for (std::size_t k = 0; k < kept.size(); ++k) {
        const double delta = block.delta(k, i);
        kept[k] = std::abs(delta) >= thresholds_[block.place.tensor][k] ? delta : 0;
        sum += task_.prior[k] * kept[k];
      }
      fused[i] = block.base[i];
      if (sum != 0) fused[i] += task_.options.scale * mean_of_sign(sum, kept, totals);
    }
  }

 private:
  /// The least magnitude to keep of each checkpoint's δ of a tensor, that of blocks [first, last).
  std::vector<double> find_thresholds(std::size_t first, std::size_t last) const {
    const std::size_t models = task_.sources.size();
    const TensorView& tensor = task_.sources.table().tensors()[task_.sources.blocks()[first].tensor];
    const double wanted = std::floor(task_.options.density * static_cast<double>(tensor.size) + 0.5);
    std::vector<NthLargest> searches(models, NthLargest(std::max(1.0, wanted)));
    while (!std::ranges::all_of(searches, &NthLargest::is_found)) {
      std::vector<double> histograms(models * kDigits);  // counts; doubles add exactly up to 2^53
      const auto histogram = [&](std::size_t k) {
        return std::span(histograms).subspan(k * kDigits, kDigits);
      };
      task_.sources.visit_share(first, last, [&](const FusionBlock& block, std::size_t) {
        for (std::size_t k = 0; k < models; ++k) {
          if (searches[k].is_found()) continue;
          for (std::size_t i = 0; i < block.size(); ++i)
            searches[k].count(std::abs(block.delta(k, i)), histogram(k));
        }
      });
      task_.sources.communicator().all_reduce_sum(std::span(histograms));
      for (std::size_t k = 0; k < models; ++k) {
        if (!searches[k].is_found()) searches[k].choose(histogram(k));
      }
    }
    std::vector<double> thresholds;
    for (const NthLargest& search : searches) thresholds.push_back(search.value());
    return thresholds;
  }

  /// The mean of those changes that have the sign of `sum`; their weights are added to the totals.
  double mean_of_sign(double sum, std::span<const double> kept, std::span<double> totals) const {
    double mean = 0, weight = 0;
    const auto agrees = [&](std::size_t k) {
      return kept[k] != 0 && std::signbit(kept[k]) == std::signbit(sum);
    };
    for (std::size_t k = 0; k < kept.size(); ++k) {
      if (agrees(k)) mean += task_.prior[k] * kept[k], weight += task_.prior[k];
    }
    for (std::size_t k = 0; k < kept.size(); ++k) {
      if (agrees(k)) totals[k] += task_.prior[k] / weight;
    }
    return mean / weight;
  }

  const FusionTask& task_;
  std::vector<std::vector<double>> thresholds_;  ///< [tensor][k]
};

}  // namespace

std::unique_ptr<FusionRule> make_ties(const FusionTask& task) {
  return std::make_unique<Ties>(task);
}

}  // namespace toller
