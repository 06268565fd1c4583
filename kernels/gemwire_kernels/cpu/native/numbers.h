// Numbers: bfloat16 in memory, the vector the machine has, and exp without a library call.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>
#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

// LANES: floats of one register. MAX_ROWS: rows whose sums, two registers each, stay in registers.
#if defined(__AVX512F__)
constexpr int LANES = 16, MAX_ROWS = 14;
#elif defined(__AVX__)
constexpr int LANES = 8, MAX_ROWS = 6;
#elif defined(__aarch64__)
constexpr int LANES = 4, MAX_ROWS = 12;
#else
constexpr int LANES = 4, MAX_ROWS = 6;
#endif
constexpr int PAIR = 2 * LANES;

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef float Unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

struct bf16 {
  uint16_t bits;
};

static inline float to_float(float x) { return x; }

static inline float to_float(bf16 x) {
  uint32_t bits = uint32_t(x.bits) << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

static inline void store(float* to, float x) { *to = x; }

// To nearest, ties to even. A NaN as the machine makes them stays one.
static inline void store(bf16* to, float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  to->bits = uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// 2^x to 2 ulp for x in [-126, 127], clamped there. The comparisons let a NaN through.
static inline float exp2_of(float x) {
  x = x < -126.0f ? -126.0f : x;
  x = x > 127.0f ? 127.0f : x;
  const float rounder = 12582912.0f;  // 1.5 * 2^23: adding it leaves an integer
  float shifted = x + rounder;
  float f = x - (shifted - rounder);
  float p = 1.5403530e-4f;  // Taylor's series of 2^f for |f| <= 1/2
  p = p * f + 1.3333558e-3f;
  p = p * f + 9.6181291e-3f;
  p = p * f + 5.5504109e-2f;
  p = p * f + 2.4022651e-1f;
  p = p * f + 6.9314718e-1f;
  p = p * f + 1.0f;
  int32_t n;
  memcpy(&n, &shifted, 4);
  n = int32_t(uint32_t(n) << 23) + 0x3f800000;  // the low bits of shifted are the integer
  float power;
  memcpy(&power, &n, 4);
  return p * power;
}

// x * Phi(x) by tanh: x / (1 + e^(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3); arXiv:1606.08415.
static inline float gelu_tanh(float x) {
  const float c = -2.0f * 0.7978845608f * 1.4426950409f;  // -2 sqrt(2 / pi) log2(e)
  return x / (1.0f + exp2_of(c * (x + 0.044715f * x * x * x)));
}

// Memory of one thread, kept from call to call and as large as the largest batch needed.
template <class T>
static T* scratch(std::vector<T>& kept, size_t size) {
  if (kept.size() < size) kept.resize(size);
  return kept.data();
}
