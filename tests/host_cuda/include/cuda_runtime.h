// Stands in for the CUDA toolkit's cuda_runtime.h when a .cu file is compiled with the host compiler: the
// part of CUDA that Toller's kernels and launchers use, run on the CPU (see execution.h).
#pragma once

/// Kernels are run on the CPU (cuda/launch.cuh).
#define HOST_CUDA 1

#include "host_cuda/execution.h"
#include "host_cuda/intrinsics.h"
#include "host_cuda/runtime_api.h"
#include "host_cuda/vector_types.h"
