// What is done to each row by itself: embedding, norms, rotation, GeGLU, pooling and the head.
#pragma once

#include "numbers.h"

// Rows below which waking other threads costs more than it saves.
constexpr int FEW_ROWS = 8;

static inline float inverse_rms(float squares, int count, float eps) {
  return 1.0f / std::sqrt(squares / float(count) + eps);
}

template <class T>
static inline float sum_of_squares(const T* x, int count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < count; i++) sum += to_float(x[i]) * to_float(x[i]);
  return sum;
}

template <class T>
static inline void norm(const float* x, const float* weight, int count, float eps, T* to) {
  float r = inverse_rms(sum_of_squares(x, count), count, eps);
  for (int i = 0; i < count; i++) store(to + i, x[i] * r * weight[i]);
}

static inline float to_float(int8_t x) { return float(x); }

// residual = table[id] * scale, x = its norm. A quantized table has a scale for each row.
template <class E, class T>
static void embed_norm(const int32_t* ids, int rows, const E* table, const float* scales, float scale,
                       const float* weight, int hidden, float eps, float* residual, T* x, int threads) {
#pragma omp parallel for num_threads(threads) if (rows > FEW_ROWS)
  for (int r = 0; r < rows; r++) {
    const E* from = table + ptrdiff_t(ids[r]) * hidden;
    float* to = residual + ptrdiff_t(r) * hidden;
    float by = scales ? scales[ids[r]] * scale : scale;
    for (int i = 0; i < hidden; i++) to[i] = to_float(from[i]) * by;
    norm(to, weight, hidden, eps, x + ptrdiff_t(r) * hidden);
  }
}

// One pass over the rows: residual += norm(y) * post, x = norm(residual) * next.
template <class Y, class T>
static void norm_residual_norm(const Y* y, float* residual, const float* post, const float* next, int rows,
                               int hidden, float eps, T* x, int threads) {
#pragma omp parallel for num_threads(threads) if (rows > FEW_ROWS)
  for (int r = 0; r < rows; r++) {
    const Y* from = y + ptrdiff_t(r) * hidden;
    float* to = residual + ptrdiff_t(r) * hidden;
    float by = inverse_rms(sum_of_squares(from, hidden), hidden, eps);
    for (int i = 0; i < hidden; i++) to[i] += to_float(from[i]) * by * post[i];
    norm(to, next, hidden, eps, x + ptrdiff_t(r) * hidden);
  }
}

// to = norm(x) with its pairs (i, i + count / 2) turned by the angles.
template <class S, class T>
static inline void norm_rotate(const S* x, const float* weight, const float* cos, const float* sin,
                               int count, float eps, T* to) {
  int half = count / 2;
  float r = inverse_rms(sum_of_squares(x, count), count, eps);
  for (int i = 0; i < half; i++) {
    float a = to_float(x[i]) * r * weight[i], b = to_float(x[i + half]) * r * weight[i + half];
    store(to + i, a * cos[i] - b * sin[i]);
    store(to + i + half, b * cos[i] + a * sin[i]);
  }
}

// heads [rows, q heads + 2 kv heads, dim] → q, k normed and rotated, v as it is.
template <class S, class T>
static void norm_rope(const S* heads, const int32_t* positions, int rows, int q_heads, int kv_heads, int dim,
                      const float* q_norm, const float* k_norm, const float* cos, const float* sin, float eps,
                      T* q, T* k, T* v, int threads) {
  int all = q_heads + 2 * kv_heads;
#pragma omp parallel for num_threads(threads) if (rows > FEW_ROWS)
  for (int r = 0; r < rows; r++) {
    const S* from = heads + ptrdiff_t(r) * all * dim;
    ptrdiff_t angle = ptrdiff_t(positions[r]) * (dim / 2);
    for (int h = 0; h < q_heads; h++, from += dim)
      norm_rotate(from, q_norm, cos + angle, sin + angle, dim, eps, q + (ptrdiff_t(r) * q_heads + h) * dim);
    for (int h = 0; h < kv_heads; h++, from += dim)
      norm_rotate(from, k_norm, cos + angle, sin + angle, dim, eps, k + (ptrdiff_t(r) * kv_heads + h) * dim);
    T* to = v + ptrdiff_t(r) * kv_heads * dim;
    for (int i = 0; i < kv_heads * dim; i++) store(to + i, to_float(from[i]));
  }
}

// out [rows, middle] = gelu_tanh of the left half of x's rows times the right half.
template <class T>
static void geglu(const T* x, int rows, int middle, T* out, int threads) {
#pragma omp parallel for num_threads(threads) if (rows > FEW_ROWS)
  for (int r = 0; r < rows; r++) {
    const T* from = x + ptrdiff_t(r) * 2 * middle;
    T* to = out + ptrdiff_t(r) * middle;
    for (int i = 0; i < middle; i++) store(to + i, gelu_tanh(to_float(from[i])) * to_float(from[i + middle]));
  }
}

// out [texts, hidden] = mean over each text of norm(residual) * weight, summed in fp64.
static void pool(const float* residual, const int32_t* starts, int texts, const float* weight, int hidden,
                 float eps, float* out, int threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (texts > 1)
  for (int t = 0; t < texts; t++) {
    std::vector<double> sum(hidden);
    for (int r = starts[t]; r < starts[t + 1]; r++) {
      const float* row = residual + ptrdiff_t(r) * hidden;
      float by = inverse_rms(sum_of_squares(row, hidden), hidden, eps);
      for (int i = 0; i < hidden; i++) sum[i] += row[i] * by;
    }
    int count = starts[t + 1] - starts[t];
    for (int i = 0; i < hidden; i++) out[ptrdiff_t(t) * hidden + i] = float(sum[i] / count * weight[i]);
  }
}

// out [texts, dimensions] = pooled by dense [dimensions, hidden], transposed.
static void head(const float* pooled, int texts, const float* dense, int dimensions, int hidden, float* out,
                 int threads) {
#pragma omp parallel for num_threads(threads)
  for (int d = 0; d < dimensions; d++) {
    const float* row = dense + ptrdiff_t(d) * hidden;
    for (int t = 0; t < texts; t++) {
      const float* x = pooled + ptrdiff_t(t) * hidden;
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int i = 0; i < hidden; i++) sum += row[i] * x[i];
      out[ptrdiff_t(t) * dimensions + d] = sum;
    }
  }
}

// Each row of x [texts, dimensions] to length one.
static void to_length_one(float* x, int texts, int dimensions) {
  for (int t = 0; t < texts; t++) {
    float* row = x + ptrdiff_t(t) * dimensions;
    float length = std::sqrt(sum_of_squares(row, dimensions));
    float by = 1.0f / (length < 1e-12f ? 1e-12f : length);  // as torch.nn.functional.normalize
    for (int i = 0; i < dimensions; i++) row[i] *= by;
  }
}
