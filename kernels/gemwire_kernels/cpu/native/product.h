// Matrix products of packed operands.
//
// A "word" is 32 bits along the summed dimension: one float, two bfloat16 or four int8. The left operand
// has rows of words; the right one is blocks of LANES columns, each [words][LANES], so that one register
// holds one word of LANES columns. A sum runs over the words in order, whatever the number of rows: a row's
// result does not depend on what other rows are there.
#pragma once
#include <algorithm>
#include <atomic>

#include "numbers.h"

struct DotF32 {
  static constexpr int PER_WORD = 1;
  using Value = float;
  using Word = float;
  using Sum = Vector;
  static inline Sum zero() { return Sum{}; }
  static inline Sum load(const Word* b) { return *reinterpret_cast<const Unaligned*>(b); }
  static inline Sum dot(Sum sum, Word a, Sum b) { return sum + a * b; }
};

#if defined(__AVX512BF16__)
struct DotBF16 {
  static constexpr int PER_WORD = 2;
  using Value = bf16;
  using Word = uint32_t;
  using Sum = __m512;
  static inline Sum zero() { return _mm512_setzero_ps(); }
  static inline __m512i load(const Word* b) { return _mm512_loadu_si512(b); }
  static inline Sum dot(Sum sum, Word a, __m512i b) {
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(int(a)), (__m512bh)b);
  }
};
#endif

#if defined(__AVX512VNNI__)
// Left unsigned, right signed, as the instruction wants them.
struct DotI8 {
  static constexpr int PER_WORD = 4;
  using Value = int8_t;
  using Word = uint32_t;
  using Sum = __m512i;
  static inline Sum zero() { return _mm512_setzero_si512(); }
  static inline __m512i load(const Word* b) { return _mm512_loadu_si512(b); }
  static inline Sum dot(Sum sum, Word a, __m512i b) {
    // GCC 12 moves the intrinsic's sums to the stack and back in every step.
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(_mm512_set1_epi32(int(a))), "v"(b));
    return sum;
  }
};
#endif

// out[r][0:PAIR] = the sums of ROWS rows over two blocks of columns; meanwhile fetches from `ahead`.
template <class Dot, int ROWS>
static void tile(const typename Dot::Word* a, ptrdiff_t a_stride, const typename Dot::Word* b0,
                 const typename Dot::Word* b1, int words, const char* ahead, int step, void* out,
                 ptrdiff_t out_stride) {
  typename Dot::Sum sums[ROWS][2];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) sums[r][0] = sums[r][1] = Dot::zero();
  for (int k = 0; k < words; k++) {
    auto left = Dot::load(b0 + k * LANES), right = Dot::load(b1 + k * LANES);
    __builtin_prefetch(ahead, 0, 2);
    ahead += step;
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      auto word = a[r * a_stride + k];
      sums[r][0] = Dot::dot(sums[r][0], word, left);
      sums[r][1] = Dot::dot(sums[r][1], word, right);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) {
    memcpy(static_cast<int32_t*>(out) + r * out_stride, &sums[r][0], sizeof sums[r][0]);
    memcpy(static_cast<int32_t*>(out) + r * out_stride + LANES, &sums[r][1], sizeof sums[r][1]);
  }
}

template <class Dot>
using Tile = void (*)(const typename Dot::Word*, ptrdiff_t, const typename Dot::Word*,
                      const typename Dot::Word*, int, const char*, int, void*, ptrdiff_t);

template <class Dot, int... ROWS>
static Tile<Dot> tile_among(int rows, std::integer_sequence<int, ROWS...>) {
  static constexpr Tile<Dot> tiles[] = {tile<Dot, ROWS + 1>...};
  return tiles[rows - 1];
}

// The tile of so many rows.
template <class Dot>
static Tile<Dot> tile_of(int rows) {
  return tile_among<Dot>(rows, std::make_integer_sequence<int, MAX_ROWS>());
}

// Calls run(first, count) for `rows` rows cut into equal tiles.
template <class Run>
static inline void each_tile(int rows, Run run) {
  int tiles = (rows + MAX_ROWS - 1) / MAX_ROWS, at = 0;
  for (int i = 0; i < tiles; i++) {
    int count = rows / tiles + (i < rows % tiles);
    run(at, count);
    at += count;
  }
}

// Two blocks of columns at a time: pair p is the blocks at b + p * stride and `second` words after that.
template <class Word>
struct Pairs {
  const Word* b;
  ptrdiff_t stride, second;
  int count;
};

// Rows whose left operand stays in a core's second-level cache while columns pass by.
constexpr int CHUNK = 256;

// Left operand [rows, words] by every pair; finish(row, pair, sums[PAIR]) takes what comes out.
template <class Dot, class Finish>
static void product(const typename Dot::Word* a, int rows, int words,
                    Pairs<typename Dot::Word> pairs, int threads, Finish finish) {
  int chunks = (rows + CHUNK - 1) / CHUNK;
  int tasks = chunks * pairs.count;
  std::atomic<int> next(0);
#pragma omp parallel num_threads(std::min(threads, tasks))
  {
    alignas(64) int32_t sums[MAX_ROWS][PAIR];
    auto run = [&](int task) {
      int chunk = task / pairs.count, pair = task % pairs.count;
      int first = int(int64_t(rows) * chunk / chunks), last = int(int64_t(rows) * (chunk + 1) / chunks);
      const auto* b0 = pairs.b + pair * pairs.stride;
      // A few rows wait for memory: the next pair is fetched while this one is multiplied.
      int tiles = (last - first + MAX_ROWS - 1) / MAX_ROWS;
      int step = tiles <= 4 && pair + 1 < pairs.count ? 4 * PAIR / tiles : 0;
      const char* ahead = reinterpret_cast<const char*>(step ? b0 + pairs.stride : b0);
      each_tile(last - first, [&](int at, int count) {
        tile_of<Dot>(count)(a + ptrdiff_t(first + at) * words, words, b0, b0 + pairs.second, words,
                            ahead, step, sums, PAIR);
        ahead += ptrdiff_t(step) * words;
        for (int r = 0; r < count; r++) finish(first + at + r, pair, sums[r]);
      });
    };
    int thread = 0, team = 1;
#if defined(_OPENMP)
    thread = omp_get_thread_num(), team = omp_get_num_threads();
#endif
    if (chunks == 1) {  // neighbours in memory to one thread, so that what it fetches ahead is its own
      for (int t = tasks * thread / team; t < tasks * (thread + 1) / team; t++) run(t);
    } else {
      for (int t; (t = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) run(t);
    }
  }
}
