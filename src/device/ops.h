// The narrow list of tensor operations that the encoder and the optimiser are written against. The model code
// is written once; a device implements this interface (cpu/cpu_ops.h). T is the element type of parameters
// and activations. All matrices are row-major and dense; all pointers are memory of the device.
//
// Sequences are packed: the tokens of all sequences of a batch lie one behind the other, without padding.
// Attention looks only inside a sequence.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace toller {

/// Where the sequences of a packed batch lie.
struct PackedSequences {
  const std::int32_t* offsets = nullptr;  ///< [count + 1]; sequence i has tokens [offsets[i], offsets[i+1])
  const std::int64_t* global_row = nullptr;  ///< [tokens]; the token's number in the batch of all ranks
  std::int64_t count = 0;
  std::int64_t tokens = 0;
  std::int32_t max_length = 0;    ///< longest sequence here
  std::int32_t length_limit = 0;  ///< longest sequence the model takes; the same on all ranks
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
  double weight_decay = 0;
  double gradient_scale = 1;  ///< applied to every gradient first (clipping)
  std::int64_t step = 1;      ///< 1 for the first step, for the bias correction
};

template <class T>
class Ops {
 public:
  virtual ~Ops() = default;

  // ---- memory
  // -------------------------------------------------------------------------------------------------
  virtual void* allocate(
      std::size_t bytes) = 0;  ///< aligned to 64 bytes; throws Error with the size when out of it
  virtual void release(void* memory) = 0;
  virtual void zero(T* x, std::int64_t n) = 0;
  virtual void scale(T* x, std::int64_t n, T factor) = 0;

  // ---- matrix products
  // ----------------------------------------------------------------------------------------
  /// c [m, n] = alpha · op(a) op(b) + beta · c; op transposes where asked; ld* are row strides.
  virtual void gemm(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k,
                    T alpha, const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c,
                    std::int64_t ldc) = 0;

  /// y [rows, out] = x [rows, in] wᵀ + bias, w [out, in]; bias may be null.
  virtual void linear(std::int64_t rows, std::int64_t in, std::int64_t out, const T* x, const T* w,
                      const T* bias, T* y) = 0;
  /// pre = x wᵀ + bias, y = gelu(pre) with the exact (erf) GELU.
  virtual void linear_gelu(std::int64_t rows, std::int64_t in, std::int64_t out, const T* x, const T* w,
                           const T* bias, T* pre, T* y) = 0;
  /// dw [out, in] += dyᵀ x, dbias [out] += column sums of dy.
  virtual void linear_backward_parameters(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                          const T* x, T* dw, T* dbias) = 0;
  /// dx [rows, in] = dy w, or dx += dy w when `accumulate`.
  virtual void linear_backward_input(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                     const T* w, T* dx, bool accumulate) = 0;
  /// dpre [rows, in] = (dy w) ∘ gelu'(pre): through a linear layer and the GELU before it.
  virtual void linear_gelu_backward_input(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                          const T* w, const T* pre, T* dpre) = 0;

  // ---- embedding and norm
  // -------------------------------------------------------------------------------------
  /// sum [tokens, h] = word[token] + position[place in the sequence] + type[0]; y = dropout(norm(sum)).
  /// mean and rstd [tokens] are kept for the backward pass.
  virtual void embed(const PackedSequences& sequences, std::int64_t hidden, const std::int32_t* tokens,
                     const T* word, const T* position, const T* type, const T* gain, const T* bias, T epsilon,
                     const Dropout& dropout, T* sum, T* mean, T* rstd, T* y) = 0;
  /// All d* are added to. `dy` [tokens, h] is overwritten with the gradient of `sum`.
  virtual void embed_backward(const PackedSequences& sequences, std::int64_t hidden,
                              const std::int32_t* tokens, T* dy, const T* sum, const T* mean, const T* rstd,
                              const T* gain, const Dropout& dropout, T* dword, T* dposition, T* dtype,
                              T* dgain, T* dbias) = 0;

  /// x ← residual + dropout(x + x_bias), y = norm(x): the end of a post-norm sublayer. x_bias is the bias of
  /// the linear layer that made x.
  virtual void residual_norm(const PackedSequences& sequences, std::int64_t hidden, T* x, const T* x_bias,
                             const T* residual, const T* gain, const T* bias, T epsilon,
                             const Dropout& dropout, T* mean, T* rstd, T* y) = 0;
  /// dsum [tokens, h]: gradient of the sum, which is that of the residual; dx: of x + x_bias (dsum through
  /// the dropout). dx and dsum may be the same memory when nothing is dropped; dsum and dy may be. dgain,
  /// dbias: added to.
  virtual void residual_norm_backward(const PackedSequences& sequences, std::int64_t hidden, const T* dy,
                                      const T* sum, const T* mean, const T* rstd, const T* gain,
                                      const Dropout& dropout, T* dsum, T* dx, T* dgain, T* dbias) = 0;

  // ---- attention
  // ----------------------------------------------------------------------------------------------
  /// Multi-head attention within sequences: qkv [tokens, 3h] (query, key, value; head by head inside each),
  /// out [tokens, h]; logsumexp [tokens, heads] of the scaled scores is kept. Dropout acts on the
  /// probabilities.
  virtual void attention(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads,
                         const T* qkv, const Dropout& dropout, T* logsumexp, T* out) = 0;
  /// dqkv is overwritten. Probabilities are recomputed from logsumexp.
  virtual void attention_backward(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads,
                                  const T* qkv, const T* out, const T* logsumexp, const T* dout,
                                  const Dropout& dropout, T* dqkv) = 0;

  // ---- pooling
  // ------------------------------------------------------------------------------------------------
  /// y [count, h]: mean over a sequence, its first or its last token.
  virtual void pool_mean(const PackedSequences& sequences, std::int64_t hidden, const T* x, T* y) = 0;
  virtual void pool_mean_backward(const PackedSequences& sequences, std::int64_t hidden, const T* dy,
                                  T* dx) = 0;
  virtual void pool_token(const PackedSequences& sequences, std::int64_t hidden, bool last, const T* x,
                          T* y) = 0;
  virtual void pool_token_backward(const PackedSequences& sequences, std::int64_t hidden, bool last,
                                   const T* dy, T* dx) = 0;
  /// y = x / ‖x‖ by rows; norm [rows] is kept. A zero row gives zero and zero gradient.
  virtual void normalize_rows(std::int64_t rows, std::int64_t hidden, const T* x, T* norm, T* y) = 0;
  /// dx = (dy − y ⟨y, dy⟩) / norm; dx may be dy.
  virtual void normalize_rows_backward(std::int64_t rows, std::int64_t hidden, const T* dy, const T* y,
                                       const T* norm, T* dx) = 0;

  // ---- optimiser
  // ----------------------------------------------------------------------------------------------
  /// Sum of squares in double; the same bits for the same input. Not finite if an element is not.
  virtual double squared_norm(const T* x, std::int64_t n) = 0;
  /// AdamW with decoupled decay (Loshchilov & Hutter, ICLR 2019) on a slice.
  virtual void adamw(std::int64_t n, const T* gradient, const AdamWStep& step, T* parameter, T* m, T* v) = 0;
};

/// The CPU implementation (fp32 or fp64): BLAS for matrix products, OpenMP threads and vectorised loops for
/// the rest.
template <class T>
std::unique_ptr<Ops<T>> make_cpu_ops();

}  // namespace toller
