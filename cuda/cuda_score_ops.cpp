#include "cuda/cuda_score_ops.h"

#include "cuda/device_storage.h"
#include "cuda/score_tiles.cuh"

namespace toller {

template <class T>
void CudaScoreOps<T>::invert_temperature(const Real* log_temperature, double* result) {
  toller::invert_temperature(log_temperature, result, stream_);
}

template <class T>
void CudaScoreOps<T>::read_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair,
                                 const Real* scores, Real* kept) {
  toller::read_pairs(tile, pairs, pair, scores, kept, stream_);
}

template <class T>
void CudaScoreOps<T>::mask_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair,
                                 Real* scores) {
  toller::mask_pairs(tile, pairs, pair, scores, stream_);
}

template <class T>
void CudaScoreOps<T>::reset_lines(std::int64_t n, Real* max, double* sum) {
  toller::reset_lines(n, max, sum, stream_);
}

template <class T>
void CudaScoreOps<T>::add_row_statistics(std::int64_t rows, std::int64_t columns, const Real* scores,
                                         const double* inverse_temperature, Real* max, double* sum) {
  toller::add_row_statistics(rows, columns, scores, inverse_temperature, max, sum,
                             workspace_.at_least<LinePart>(row_statistics_workspace(rows, columns)), stream_);
}

template <class T>
void CudaScoreOps<T>::add_column_statistics(std::int64_t rows, std::int64_t columns, const Real* scores,
                                            const double* inverse_temperature, Real* max, double* sum) {
  toller::add_column_statistics(rows, columns, scores, inverse_temperature, max, sum,
                                workspace_.at_least<LinePart>(column_statistics_workspace(rows, columns)),
                                stream_);
}

template <class T>
void CudaScoreOps<T>::rescale_sums(std::int64_t n, const double* inverse_temperature, const Real* max,
                                   const Real* new_max, double* sum) {
  toller::rescale_sums(n, inverse_temperature, max, new_max, sum, stream_);
}

template <class T>
void CudaScoreOps<T>::contrastive_terms(const ContrastiveTerms<Real>& terms,
                                        const double* inverse_temperature) {
  double* workspace = workspace_.at_least<double>(contrastive_terms_workspace(terms.lines.lines));
  toller::contrastive_terms(terms, inverse_temperature, workspace, stream_);
}

template <class T>
void CudaScoreOps<T>::softmax_lines(std::int64_t n, const double* inverse_temperature, const Real* max,
                                    const double* sum, const double* weight, Real* shift, Real* offset) {
  toller::softmax_lines(n, inverse_temperature, max, sum, weight, shift, offset, stream_);
}

template <class T>
void CudaScoreOps<T>::softmax_gradient(std::int64_t rows, std::int64_t columns, const Real* scores,
                                       const double* inverse_temperature, SoftmaxLines<Real> row_lines,
                                       SoftmaxLines<Real> column_lines, T* gradient) {
  toller::softmax_gradient(rows, columns, scores, inverse_temperature, row_lines, column_lines,
                           on_device(gradient), stream_);
}

template <class T>
void CudaScoreOps<T>::add_pair_gradients(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair,
                                         const double* pair_gradient, const double* inverse_temperature,
                                         T* gradient) {
  toller::add_pair_gradients(tile, pairs, pair, pair_gradient, inverse_temperature, on_device(gradient),
                             stream_);
}

template <class T>
void CudaScoreOps<T>::dot(std::int64_t n, const T* a, const Real* b, double factor, double* result) {
  toller::dot(n, on_device(a), b, factor, result, workspace_.at_least<double>(dot_workspace(n)), stream_);
}

template class CudaScoreOps<BFloat16>;
template class CudaScoreOps<float>;

}  // namespace toller
