# The CUDA kernels and what belongs to them on the host. Compiled by nvcc where it is found (CMakeLists.txt here),
# and by the host compiler for the tests (tests/cuda).
set(TOLLER_CUDA_SOURCES
    attention.cpp attention.cu attention_backward.cu attention_fp32.cu
    checks.cu
    column_sums.cu
    cublaslt_library.cpp
    cut_rows.cu
    double_matrix.cu
    elementwise.cu
    embedding.cu
    gelu.cu
    gpu_sharing.cpp
    launch.cpp
    list_loss.cu
    matrix_product.cpp matrix_product_plans.cpp
    norm.cu
    optimizer.cu
    pair_choices.cu
    pooling.cu
    probabilities.cu
    row_segments.cpp
    scalars.cu
    score_deposits.cu score_grid.cu score_pairwise.cu
    score_lines.cu score_pairs.cu score_tiles.cu
    shared_library.cpp
    similarity.cu
    staged_communicator.cpp)
# The communicator over NCCL, and what says so where its header is missing.
set(TOLLER_NCCL_SOURCES nccl_communicator.cpp nccl_connection.cpp nccl_library.cpp operation_watchdog.cpp)
set(TOLLER_NO_NCCL_SOURCES nccl_missing.cpp)
# The backend over them: what the encoder, the losses and the trainer use.
set(TOLLER_CUDA_BACKEND_SOURCES cuda_backends.cpp cuda_memory.cpp cuda_ops.cpp cuda_score_ops.cpp)
foreach(sources TOLLER_CUDA_SOURCES TOLLER_NCCL_SOURCES TOLLER_NO_NCCL_SOURCES TOLLER_CUDA_BACKEND_SOURCES)
  list(TRANSFORM ${sources} PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
endforeach()
