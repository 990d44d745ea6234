// The narrow list of tensor operations that the encoder and the optimiser are written against. The model code
// is written once; a device implements this interface (cpu/cpu_ops.h, cuda/cuda_ops.h). T is the element type
// of parameters and activations, Real that of statistics, embeddings and gradients of parameters
// (element.h). All matrices are row-major and dense; all pointers are memory of the device.
//
// Sequences are packed: the tokens of all sequences of a batch lie one behind the other, without padding.
// Attention looks only inside a sequence.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "device/memory.h"
#include "element.h"

namespace toller {

/// What a device keeps beside a packed batch for its own kernels.
struct PreparedSequences;

/// Where the sequences of a packed batch lie.
struct PackedSequences {
  const std::int32_t* offsets = nullptr;  ///< [count + 1]; sequence i has tokens [offsets[i], offsets[i+1])
  const std::int64_t* global_row = nullptr;  ///< [tokens]; the token's number in the batch of all ranks
  const std::int32_t* token = nullptr;       ///< [tokens]; rows of the word table
  std::int64_t count = 0;
  std::int64_t tokens = 0;
  std::int32_t max_length = 0;                  ///< longest sequence here
  std::int32_t length_limit = 0;                ///< longest sequence the model takes; the same on all ranks
  const PreparedSequences* prepared = nullptr;  ///< of the device that uploaded the batch
};

/// One place of dropout in one step. The mask of an element depends on (seed, step, site, global row, column)
/// alone: it is the same whatever rank or micro-batch the token is in, and is recomputed in the backward
/// pass.
struct Dropout {
  double rate = 0;  ///< 0: nothing is dropped
  std::uint64_t seed = 0;
  std::uint32_t step = 0;
  std::uint32_t site = 0;
};

struct AdamWStep {
  double learning_rate = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;  ///< acts on the slices that take it
  std::int64_t step = 1;    ///< 1 for the first step, for the bias correction
};

/// A run of elements of the flat buffer that takes or does not take weight decay.
struct DecaySlice {
  std::int64_t offset = 0;
  std::int64_t size = 0;
  bool decay = false;
};

/// Clipping by the global norm, whose square is memory of the device.
struct GradientClip {
  const double* squared_norm = nullptr;
  double clip_norm = 0;  ///< 0: no clipping
};

template <class T>
class Ops : public virtual DeviceMemory {
 public:
  using Real = RealOf<T>;

  // ---- elements
  // -------------------------------------------------------------------------------------------------
  virtual void scale(Real* x, std::int64_t n, double factor) = 0;
  /// to [n] = from [n], rounded to nearest even.
  virtual void convert(std::int64_t n, const Real* from, T* to) = 0;
  /// y [1] += factor · x [0].
  virtual void add_scalar(const double* x, double factor, Real* y) = 0;
  /// x [1] = min(max(x, low), high).
  virtual void clamp_scalar(Real* x, double low, double high) = 0;

  /// Throws UsageError for an encoder that the device has no kernels for.
  virtual void check_sizes(std::int64_t hidden, std::int64_t heads) const = 0;
  /// Tokens at a time that suit the device: more are no faster.
  virtual std::int64_t chunk_tokens() const = 0;
  /// Makes a packed batch, given in host memory, ready for the operations below; valid until the next
  /// begin_step(), as upload_bytes() says.
  virtual PackedSequences upload_sequences(const PackedSequences& host) = 0;

  // ---- matrix products
  // ----------------------------------------------------------------------------------------
  /// c [m, n] = op(a) op(b) + beta · c; op transposes where asked; ld* are row strides.
  virtual void gemm(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k,
                    const T* a, std::int64_t lda, const T* b, std::int64_t ldb, double beta, Real* c,
                    std::int64_t ldc) = 0;

  /// y [rows, out] = x [rows, in] wᵀ + bias, w [out, in]; bias may be null.
  virtual void linear(std::int64_t rows, std::int64_t in, std::int64_t out, const T* x, const T* w,
                      const T* bias, T* y) = 0;
  /// pre = x wᵀ + bias, y = gelu(pre) with the exact (erf) GELU.
  virtual void linear_gelu(std::int64_t rows, std::int64_t in, std::int64_t out, const T* x, const T* w,
                           const T* bias, T* pre, T* y) = 0;
  /// dw [out, in] += dyᵀ x, dbias [out] += column sums of dy.
  virtual void linear_backward_parameters(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                          const T* x, Real* dw, Real* dbias) = 0;
  /// dx [rows, in] = dy w, or dx += dy w when `accumulate`.
  virtual void linear_backward_input(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                     const T* w, T* dx, bool accumulate) = 0;
  /// dpre [rows, in] = (dy w) ∘ gelu'(pre): through a linear layer and the GELU before it.
  virtual void linear_gelu_backward_input(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                          const T* w, const T* pre, T* dpre) = 0;

  // ---- embedding and norm
  // -------------------------------------------------------------------------------------
  /// sum [tokens, h] = word[token] + position[place in the sequence] + type[0]; y = dropout(norm(sum)).
  /// mean and rstd [tokens] are kept for the backward pass. `type` may be null: nothing is added.
  virtual void embed(const PackedSequences& sequences, std::int64_t hidden, const T* word, const T* position,
                     const T* type, const T* gain, const T* bias, double epsilon, const Dropout& dropout,
                     T* sum, Real* mean, Real* rstd, T* y) = 0;
  /// All d* are added to; `dtype` may be null. `dy` [tokens, h] is overwritten with the gradient of `sum`.
  virtual void embed_backward(const PackedSequences& sequences, std::int64_t hidden, T* dy, const T* sum,
                              const Real* mean, const Real* rstd, const T* gain, const Dropout& dropout,
                              Real* dword, Real* dposition, Real* dtype, Real* dgain, Real* dbias) = 0;

  /// x ← residual + dropout(x + x_bias), y = norm(x): the end of a post-norm sublayer. x_bias is the bias of
  /// the linear layer that made x.
  virtual void residual_norm(const PackedSequences& sequences, std::int64_t hidden, T* x, const T* x_bias,
                             const T* residual, const T* gain, const T* bias, double epsilon,
                             const Dropout& dropout, Real* mean, Real* rstd, T* y) = 0;
  /// dsum [tokens, h]: gradient of the sum, which is that of the residual; dx: of x + x_bias (dsum through
  /// the dropout). dx and dsum may be the same memory when nothing is dropped; dsum and dy may be. dgain,
  /// dbias: added to.
  virtual void residual_norm_backward(const PackedSequences& sequences, std::int64_t hidden, const T* dy,
                                      const T* sum, const Real* mean, const Real* rstd, const T* gain,
                                      const Dropout& dropout, T* dsum, T* dx, Real* dgain, Real* dbias) = 0;

  // ---- attention
  // ----------------------------------------------------------------------------------------------
  /// Multi-head attention within sequences: qkv [tokens, 3h] (query, key, value; head by head inside each),
  /// out [tokens, h]; logsumexp [tokens, heads] of the scaled scores is kept. Dropout acts on the
  /// probabilities.
  virtual void attention(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads,
                         const T* qkv, const Dropout& dropout, Real* logsumexp, T* out) = 0;
  /// dqkv is overwritten. Probabilities are recomputed from logsumexp.
  virtual void attention_backward(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads,
                                  const T* qkv, const T* out, const Real* logsumexp, const T* dout,
                                  const Dropout& dropout, T* dqkv) = 0;

  // ---- pooling
  // ------------------------------------------------------------------------------------------------
  /// y [count, h]: mean over a sequence, its first or its last token.
  virtual void pool_mean(const PackedSequences& sequences, std::int64_t hidden, const T* x, Real* y) = 0;
  virtual void pool_mean_backward(const PackedSequences& sequences, std::int64_t hidden, const Real* dy,
                                  T* dx) = 0;
  virtual void pool_token(const PackedSequences& sequences, std::int64_t hidden, bool last, const T* x,
                          Real* y) = 0;
  virtual void pool_token_backward(const PackedSequences& sequences, std::int64_t hidden, bool last,
                                   const Real* dy, T* dx) = 0;
  /// y = x / ‖x‖ by rows; norm [rows] is kept. A zero row gives zero and zero gradient. y may be x.
  virtual void normalize_rows(std::int64_t rows, std::int64_t hidden, const Real* x, Real* norm, Real* y) = 0;
  /// dx = (dy − y ⟨y, dy⟩) / norm; dx may be dy.
  virtual void normalize_rows_backward(std::int64_t rows, std::int64_t hidden, const Real* dy, const Real* y,
                                       const Real* norm, Real* dx) = 0;

  // ---- optimiser
  // ----------------------------------------------------------------------------------------------
  /// result [1] = Σ x² in double; the same bits for the same input. Not finite if an element is not.
  virtual void squared_norm(const Real* x, std::int64_t n, double* result) = 0;
  /// AdamW with decoupled decay (Loshchilov & Hutter, ICLR 2019). `slices` stay where they are from the first
  /// step on. Where the squared norm is not finite nothing is changed: whoever reads the norm finds out.
  /// `copy` gets the new parameters as T; null where T is Real.
  virtual void adamw(std::span<const DecaySlice> slices, const Real* gradient, const AdamWStep& step,
                     const GradientClip& clip, Real* parameter, Real* m, Real* v, T* copy) = 0;

  // ---- checks
  // ----------------------------------------------------------------------------------------------
  /// If total [1] is not finite: count[i] = elements of x[bounds[i]] … x[bounds[i + 1] − 1] that are not
  /// finite, for i < parts. Else nothing is changed, and next to nothing is read. All memory of the device.
  virtual void count_not_finite(const double* total, const Real* x, const std::int64_t* bounds,
                                std::int64_t parts, std::int64_t* count) = 0;
  /// result [1] = the sum, modulo 2⁶⁴, of element_hash (device/content_hash.h) over all x: the same on every
  /// device, and another one (but for a chance of 2⁻⁶⁴) where a bit of x is.
  virtual void content_hash(const Real* x, std::int64_t n, std::uint64_t* result) = 0;
};

/// The CPU implementation (fp32 or fp64): BLAS for matrix products, OpenMP threads and vectorised loops for
/// the rest.
template <class T>
std::unique_ptr<Ops<T>> make_cpu_ops();

}  // namespace toller
