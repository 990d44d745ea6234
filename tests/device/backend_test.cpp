// Which device a run computes on: what "auto" takes, what is refused, and that all ranks agree.
#include "device/backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/thread_communicator.h"
#include "error.h"

namespace toller {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// A rank that finds a GPU or not; nothing is made of it.
class SomeGpus final : public GpuBackends {
 public:
  explicit SomeGpus(bool here) : here_(here) {}
  std::string why_none() const override { return here_ ? "" : "the driver sleeps"; }
  Backend<BFloat16> make_bfloat16(const DeviceOptions&, Communicator&) override { return {}; }
  Backend<float> make_float(const DeviceOptions&, Communicator&) override { return {}; }

 private:
  bool here_;
};

DeviceChoice choose(const DeviceOptions& options, bool gpu, const std::string& gpu_precision = "bf16") {
  SelfCommunicator self;
  return choose_device(options, SomeGpus(gpu), self, gpu_precision);
}

TEST(DeviceChoice, AutoTakesAGpuWhereThereIsOne) {
  EXPECT_TRUE(choose({}, true).gpu);
  EXPECT_EQ(choose({}, true).precision, "bf16");
  EXPECT_EQ(choose({}, true, "float").precision, "float");
  EXPECT_FALSE(choose({}, false).gpu);
  EXPECT_EQ(choose({}, false).precision, "float");
}

TEST(DeviceChoice, TakesWhatIsAskedFor) {
  EXPECT_FALSE(choose({.device = "cpu"}, true).gpu);
  EXPECT_EQ(choose({.device = "cuda", .precision = "float"}, true).precision, "float");
  EXPECT_EQ(choose({.device = "cpu", .precision = "double"}, true).precision, "double");
  EXPECT_FALSE(choose({.precision = "double"}, true).gpu) << "a GPU does not compute in double";
}

TEST(DeviceChoice, RefusesWhatCannotBeHad) {
  const auto refused = [](const DeviceOptions& options, bool gpu, const char* text) {
    EXPECT_THAT([&] { choose(options, gpu); }, ThrowsMessage<UsageError>(HasSubstr(text)));
  };
  refused({.device = "cuda"}, false, "--device cuda: the driver sleeps");
  refused({.device = "cuda", .precision = "double"}, true, "--precision double is for --device cpu");
  refused({.precision = "bf16"}, false, "--precision bf16 is for a GPU");
  refused({.device = "tpu"}, true, "--device 'tpu' is unknown; choose auto, cpu, cuda");
  refused({.precision = "half"}, true, "--precision 'half'");
  refused({.communicator = "rdma"}, true, "--communicator 'rdma'");
  refused({.timeout = 0}, true, "--timeout is 0");
}

// One machine without a GPU among several: all compute on the CPU, or all say so.
TEST(DeviceChoice, IsTheSameOnEveryRank) {
  for (const int without : {0, 2, 3}) {
    run_ranks(4, [&](Communicator& communicator) {
      const SomeGpus gpus(communicator.rank() != without);
      EXPECT_FALSE(choose_device({}, gpus, communicator).gpu);
      try {
        choose_device({.device = "cuda"}, gpus, communicator);
        ADD_FAILURE() << "rank " << communicator.rank() << " went on";
      } catch (const UsageError& error) {
        const std::string reason =
            communicator.rank() == without ? "the driver sleeps" : fmt::format("rank {} has no GPU", without);
        EXPECT_THAT(error.what(), HasSubstr(reason));
      }
    });
  }
}

}  // namespace
}  // namespace toller
