// What Python calls. Tensors come as pointers, contiguous; `half` says they hold bfloat16, not float.
#include "attention.h"
#include "rows.h"
#include "weights.h"

// Pointers to elements of one type.
template <class T>
struct Of {
  const T* in(const void* p) const { return static_cast<const T*>(p); }
  T* out(void* p) const { return static_cast<T*>(p); }
};

template <class F>
static void typed(int half, F f) {
  if (half)
    f(Of<bf16>());
  else
    f(Of<float>());
}

extern "C" {

int gemwire_lanes() { return LANES; }

int gemwire_multiplies(int kind) {
#if defined(__AVX512BF16__)
  if (kind == BFLOAT16) return 1;
#endif
#if defined(__AVX512VNNI__)
  if (kind == INT8) return 1;
#endif
  return kind == FLOAT32;
}

void gemwire_pack(int kind, int half, const void* source, int columns, int depth, void* blocks, float* scales,
                  int32_t* sums) {
  typed(half, [&](auto of) {
    pack_weight(kind, of.in(source), columns, depth, blocks, scales, sums);
  });
}

void gemwire_quantize(int half, const void* source, int rows, int depth, int8_t* values, float* scales) {
  typed(half, [&](auto of) {
    for (int r = 0; r < rows; r++) {
      auto* from = of.in(source) + ptrdiff_t(r) * depth;
      scales[r] = row_scale(from, depth);
      quantize_row(from, depth, scales[r], 0, values + ptrdiff_t(r) * depth);
    }
  });
}

void gemwire_embed_norm(int kind, int half, const int32_t* ids, int rows, const void* table, const float* scales,
                        float scale, const float* weight, int hidden, float eps, float* residual, void* x,
                        int threads) {
  typed(half, [&](auto of) {
    auto* to = of.out(x);
    auto run = [&](auto* from) {
      embed_norm(ids, rows, from, scales, scale, weight, hidden, eps, residual, to, threads);
    };
    if (kind == INT8)
      run(static_cast<const int8_t*>(table));
    else
      run(of.in(table));
  });
}

void gemwire_linear(const Weight* w, int half, const void* x, int rows, void* out, int threads) {
  typed(half, [&](auto of) {
    linear(of.in(x), rows, *w, of.out(out), threads);
  });
}

void gemwire_gate_up_geglu(const Weight* w, int half, const void* x, int rows, void* out, int threads) {
  typed(half, [&](auto of) {
    gate_up_geglu(of.in(x), rows, *w, of.out(out), threads);
  });
}

void gemwire_geglu(int half, const void* x, int rows, int middle, void* out, int threads) {
  typed(half, [&](auto of) {
    geglu(of.in(x), rows, middle, of.out(out), threads);
  });
}

// Without a weight, x is the product itself.
void gemwire_qkv_norm_rope(const Weight* w, int half, const void* x, const int32_t* positions, int rows,
                           int q_heads, int kv_heads, int dim, const float* q_norm, const float* k_norm,
                           const float* cos, const float* sin, float eps, void* q, void* k, void* v,
                           int threads) {
  static thread_local std::vector<float> kept;
  typed(half, [&](auto of) {
    auto run = [&](const auto* heads) {
      norm_rope(heads, positions, rows, q_heads, kv_heads, dim, q_norm, k_norm, cos, sin, eps,
                of.out(q), of.out(k), of.out(v), threads);
    };
    if (w == nullptr) return run(of.in(x));
    float* heads = scratch(kept, size_t(rows) * w->columns);
    linear(of.in(x), rows, *w, heads, threads);
    run(heads);
  });
}

void gemwire_attention(int half, const void* q, const void* k, const void* v, const int32_t* starts, int texts,
                       int heads, int kv_heads, int dim, float scale, int window, void* out, int threads) {
  Shape shape{heads, kv_heads, dim, window, scale};
#if defined(__AVX512BF16__)
  if (half)
    return attention<DotBF16>(static_cast<const bf16*>(q), static_cast<const bf16*>(k),
                              static_cast<const bf16*>(v), starts, texts, shape, static_cast<bf16*>(out),
                              threads);
#endif
  typed(half, [&](auto of) {
    attention<DotF32>(of.in(q), of.in(k), of.in(v), starts, texts,
                      shape, of.out(out), threads);
  });
}

void gemwire_norm_residual_norm(int half, const void* y, float* residual, const float* post, const float* next,
                                int rows, int hidden, float eps, void* x, int threads) {
  typed(half, [&](auto of) {
    norm_residual_norm(of.in(y), residual, post, next, rows, hidden, eps,
                       of.out(x), threads);
  });
}

void gemwire_pool(const float* residual, const int32_t* starts, int texts, const float* weight, int hidden,
                  float eps, float* out, int threads) {
  pool(residual, starts, texts, weight, hidden, eps, out, threads);
}

void gemwire_head(const float* pooled, int texts, const float* dense, int dimensions, int hidden,
                  int normalize, float* out, int threads) {
  head(pooled, texts, dense, dimensions, hidden, out, threads);
  if (normalize) to_length_one(out, texts, dimensions);
}
}
