// Linear layers: weights packed once, products with what follows them done on the sums.
#pragma once

#include "product.h"

// How a weight is packed. The numbers are Python's too.
enum Kind { FLOAT32 = 0, BFLOAT16 = 1, INT8 = 2 };

// A weight [columns, depth] of the checkpoint as columns of the right operand. For int8: value = scale of
// the column * integer; sums holds 128 times each column's sum, what an offset of 128 to the left adds.
struct Weight {
  int kind, columns, depth;
  const void* blocks;
  const float* scales;
  const int32_t* sums;
};

// A symmetric scale for a row: its largest magnitude is 127. A row that is not finite gets a NaN.
template <class T>
static float row_scale(const T* x, int count) {
  float largest = 0, finite = 0;
#pragma omp simd reduction(max : largest) reduction(+ : finite)
  for (int i = 0; i < count; i++) {
    float v = to_float(x[i]);
    float magnitude = v < 0 ? -v : v;
    largest = magnitude > largest ? magnitude : largest;
    finite += v * 0.0f;
  }
  return largest / 127.0f + finite;
}

template <class T, class Q>
static void quantize_row(const T* x, int count, float scale, int offset, Q* to) {
  // Zero rows have no scale, rows with a NaN pass it on: neither may reach the conversion.
  float inverse = scale > 0 && scale < INFINITY ? 1.0f / scale : 0.0f;
  const float rounder = 12582912.0f;  // 1.5 * 2^23: the low bits of a sum with it are an integer
  for (int i = 0; i < count; i++) {
    float shifted = (inverse > 0 ? to_float(x[i]) : 0.0f) * inverse + rounder;
    int32_t bits;
    memcpy(&bits, &shifted, 4);
    to[i] = Q(bits - 0x4b400000 + offset);
  }
}

template <class Word>
static void pack_rows(const Word* rows, int first, int count, int words, Word* blocks) {
  for (int c = 0; c < count; c++) {
    int column = first + c;
    Word* to = blocks + ptrdiff_t(column / LANES) * words * LANES + column % LANES;
    for (int k = 0; k < words; k++) to[ptrdiff_t(k) * LANES] = rows[ptrdiff_t(c) * words + k];
  }
}

// `source` is of the weight's kind, for int8 T is either; blocks holds zeros.
template <class T>
static void pack_weight(int kind, const T* source, int columns, int depth, void* blocks, float* scales,
                        int32_t* sums) {
  if (kind != INT8) {
    int words = depth * int(sizeof(T)) / 4;
    pack_rows(reinterpret_cast<const uint32_t*>(source), 0, columns, words,
              static_cast<uint32_t*>(blocks));
    return;
  }
  std::vector<uint32_t> row(depth / 4);
  auto* values = reinterpret_cast<int8_t*>(row.data());
  for (int c = 0; c < columns; c++) {
    const T* from = source + ptrdiff_t(c) * depth;
    scales[c] = row_scale(from, depth);
    quantize_row(from, depth, scales[c], 0, values);
    int sum = 0;
    for (int i = 0; i < depth; i++) sum += values[i];
    sums[c] = 128 * sum;
    pack_rows(row.data(), c, 1, depth / 4, static_cast<uint32_t*>(blocks));
  }
}

// Rows of the left operand in int8, offset to unsigned, and their scales.
template <class T>
static const uint32_t* quantize(const T* x, int rows, int depth, int threads, const float** scales) {
  static thread_local std::vector<uint32_t> values;
  static thread_local std::vector<float> kept;
  auto* to = reinterpret_cast<uint8_t*>(scratch(values, size_t(rows) * depth / 4));
  float* scale = scratch(kept, rows);
#pragma omp parallel for num_threads(threads) if (rows > 8)
  for (int r = 0; r < rows; r++) {
    const T* row = x + ptrdiff_t(r) * depth;
    scale[r] = row_scale(row, depth);
    quantize_row(row, depth, scale[r], 128, to + ptrdiff_t(r) * depth);
  }
  *scales = scale;
  return values.data();
}

// x [rows, depth] by pairs of the weight's blocks; take(row, pair, sums[PAIR]) gets them as floats, block
// one from column `PAIR * pair` or as `column_of` says.
template <class T, class Columns, class Take>
static void multiply(const T* x, int rows, const Weight& w, int pairs, ptrdiff_t stride_blocks,
                     ptrdiff_t second_blocks, int threads, Columns columns_of, Take take) {
  auto run = [&](auto dot, const auto* a, auto finish) {
    using Dot = decltype(dot);
    using Word = typename Dot::Word;
    int words = w.depth / Dot::PER_WORD;
    ptrdiff_t block = ptrdiff_t(words) * LANES;
    Pairs<Word> over{static_cast<const Word*>(w.blocks), stride_blocks * block, second_blocks * block, pairs};
    product<Dot>(reinterpret_cast<const Word*>(a), rows, words, over, threads, finish);
  };
  auto as_float = [&](int row, int pair, const int32_t* sums) {
    take(row, pair, reinterpret_cast<const float*>(sums));
  };
#if defined(__AVX512VNNI__)
  if (w.kind == INT8) {
    const float* scales;
    const uint32_t* a = quantize(x, rows, w.depth, threads, &scales);
    return run(DotI8{}, a, [&](int row, int pair, const int32_t* sums) {
      alignas(64) float values[PAIR];
      for (int half = 0; half < 2; half++) {
        int first = columns_of(pair, half);
        for (int j = 0; j < LANES; j++)
          values[half * LANES + j] = float(sums[half * LANES + j] - w.sums[first + j]) *
                                     (scales[row] * w.scales[first + j]);
      }
      take(row, pair, values);
    });
  }
#endif
#if defined(__AVX512BF16__)
  if (w.kind == BFLOAT16) return run(DotBF16{}, x, as_float);
#endif
  run(DotF32{}, x, as_float);
}

// out [rows, columns] = x times the weight, transposed.
template <class T, class Out>
static void linear(const T* x, int rows, const Weight& w, Out* out, int threads) {
  auto columns_of = [](int pair, int half) { return pair * PAIR + half * LANES; };
  multiply(x, rows, w, (w.columns + PAIR - 1) / PAIR, 2, 1, threads, columns_of,
           [&](int row, int pair, const float* sums) {
             int first = pair * PAIR, count = std::min(PAIR, w.columns - first);
             Out* to = out + ptrdiff_t(row) * w.columns + first;
             for (int j = 0; j < count; j++) store(to + j, sums[j]);
           });
}

// out [rows, columns / 2] = gelu_tanh(gate) * up; columns / 2 is a multiple of LANES.
template <class T>
static void gate_up_geglu(const T* x, int rows, const Weight& w, T* out, int threads) {
  int middle = w.columns / 2, pairs = middle / LANES;
  auto columns_of = [=](int pair, int half) { return pair * LANES + half * middle; };
  multiply(x, rows, w, pairs, 1, pairs, threads, columns_of,
           [&](int row, int pair, const float* sums) {
             T* to = out + ptrdiff_t(row) * middle + pair * LANES;
             for (int j = 0; j < LANES; j++) store(to + j, gelu_tanh(sums[j]) * sums[LANES + j]);
           });
}
