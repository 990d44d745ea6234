# The CUDA kernels and what belongs to them on the host. Compiled by nvcc where it is found (CMakeLists.txt here),
# and by the host compiler for the tests (tests/cuda).
set(TOLLER_CUDA_SOURCES
    attention.cpp attention.cu attention_backward.cu attention_fp32.cu
    column_sums.cu
    embedding.cu
    gelu.cu
    launch.cpp
    norm.cu
    optimizer.cu
    pooling.cu
    row_segments.cpp)
list(TRANSFORM TOLLER_CUDA_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
