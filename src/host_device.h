// Marks functions that run on the host and, where nvcc compiles them, in kernels too. They call no function
// of the standard library but those of <cmath>.
#pragma once

#if defined(__CUDACC__)
#define TOLLER_HOST_DEVICE __host__ __device__
#else
#define TOLLER_HOST_DEVICE
#endif
