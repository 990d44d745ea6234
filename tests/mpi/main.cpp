// GoogleTest on every rank: each runs the same tests in the same order. Only rank 0 prints passes; a failure
// of any rank prints and fails the program.
#include <gtest/gtest.h>
#include <mpi.h>

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  testing::InitGoogleTest(&argc, argv);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank != 0) testing::GTEST_FLAG(brief) = true;
  const int failed = RUN_ALL_TESTS();
  // A rank that failed half-way through a collective has left the others waiting in it.
  if (failed != 0) MPI_Abort(MPI_COMM_WORLD, failed);
  MPI_Finalize();
  return 0;
}
