// Lists of documents on the CPU (ScoreOps, section lists): a list is one thread's work.
#pragma once

#include <cstdint>

#include "device/lists/list_loss.h"

namespace toller {

template <class T>
void cpu_list_scores(const ScoreLists& lists, std::int64_t dimension, const T* query, const T* document,
                     double* score);

void cpu_list_losses(const ListLossSetup& setup, const ScoreLists& lists, const double* score,
                     double inverse_temperature, double* gradient, double* totals);

template <class T>
void cpu_list_embedding_gradients(const ScoreLists& lists, std::int64_t dimension, const double* gradient,
                                  double count, const T* query, const T* document, T* d_query, T* d_document);

}  // namespace toller
