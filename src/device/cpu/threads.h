// How many OpenMP threads a rank uses.
#pragma once

namespace toller {

/// Sets the threads of this process and returns their number. `requested` > 0 is taken as it is; 0 means
/// OMP_NUM_THREADS where it is set, otherwise the processors that this process may use, shared out over the
/// ranks of the machine when the launcher has not bound ranks to processors of their own.
int set_threads(int requested);

}  // namespace toller
