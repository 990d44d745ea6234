// A program without GPUs, for tests of what takes a choice of devices.
#pragma once

#include <stdexcept>

#include "device/backend.h"

namespace toller {

class NoGpus final : public GpuBackends {
 public:
  std::string why_none() const override { return "there is none in this test"; }
  Backend<BFloat16> make_bfloat16(const DeviceOptions&, Communicator&) override {
    throw std::logic_error("no GPU");
  }
  Backend<float> make_float(const DeviceOptions&, Communicator&) override {
    throw std::logic_error("no GPU");
  }
};

}  // namespace toller
