// Attention of each token to its own text, both ways, inside a window: no mask, nothing beyond is computed.
//
// First the keys and values of every text are packed as right operands. Then a block of queries with all the
// query heads of one key head as its rows: scores against the keys it may see, softmax, times the values.
#pragma once
#include "product.h"

// Tokens of a block: with three query heads 48 rows, which share each packed key while it is in the cache.
constexpr int QUERIES = 16;

struct Shape {
  int heads, kv_heads, dim, window;  // window: |i - j| <= window may see each other, below 0: all
  float scale;
};

// One text and one key head: where its keys and values are packed.
struct Text {
  int start, length, head;
  ptrdiff_t at;  // in values, of both
};

static inline int whole_pairs(int keys) { return (keys + PAIR - 1) / PAIR * PAIR; }

template <class Value, class T>
static inline void convert(const T* from, int count, Value* to) {
  for (int i = 0; i < count; i++) store(to + i, to_float(from[i]));
}

static inline void convert(const bf16* from, int count, bf16* to) { memcpy(to, from, 2 * size_t(count)); }

// keys: blocks of LANES keys, [dim / PER_WORD words][LANES]; values: blocks of LANES columns of a head,
// [length / PER_WORD words][LANES]. What is beyond the text's last key is zero.
template <class Dot, class T>
static void pack_text(const Text& text, const Shape& shape, const T* k, const T* v,
                      typename Dot::Value* keys, typename Dot::Value* values) {
  using Word = typename Dot::Word;
  constexpr int PER = Dot::PER_WORD;
  int dim = shape.dim, room = whole_pairs(text.length) + PAIR;
  memset(keys + text.at, 0, size_t(room) * dim * sizeof(*keys));
  memset(values + text.at, 0, size_t(room) * dim * sizeof(*values));
  std::vector<Word> row(dim / PER);
  auto* numbers = reinterpret_cast<typename Dot::Value*>(row.data());
  for (int i = 0; i < text.length; i++) {
    ptrdiff_t from = (ptrdiff_t(text.start + i) * shape.kv_heads + text.head) * dim;
    convert(k + from, dim, numbers);
    auto* key = reinterpret_cast<Word*>(keys + text.at) + ptrdiff_t(i / LANES) * (dim / PER) * LANES + i % LANES;
    for (int w = 0; w < dim / PER; w++) key[w * LANES] = row[w];
    convert(v + from, dim, numbers);
    for (int c = 0; c < dim; c += LANES) {
      auto* value = values + text.at + (ptrdiff_t(c) * (room / PER) + ptrdiff_t(i / PER) * LANES) * PER + i % PER;
      for (int j = 0; j < LANES; j++) value[j * PER] = numbers[c + j];
    }
  }
}

// p = e^(scale (s - max s)) for the keys in [low, high), zero elsewhere up to `width`; returns their sum.
template <class Value>
static float softmax(const float* s, int low, int high, int width, float scale, Value* p) {
  float largest = -INFINITY, sum = 0;
#pragma omp simd reduction(max : largest)
  for (int j = low; j < high; j++) largest = s[j] > largest ? s[j] : largest;
  float by = scale * 1.4426950409f;
  for (int j = 0; j < low; j++) store(p + j, 0.0f);
  for (int j = high; j < width; j++) store(p + j, 0.0f);
#pragma omp simd reduction(+ : sum)
  for (int j = low; j < high; j++) {
    float e = exp2_of((s[j] - largest) * by);
    store(p + j, e);
    sum += e;
  }
  return sum;
}

template <class Dot, class T>
static void attend(const Text& text, int first, const Shape& shape, const T* q,
                   const typename Dot::Value* keys, const typename Dot::Value* values, T* out) {
  using Word = typename Dot::Word;
  using Value = typename Dot::Value;
  constexpr int PER = Dot::PER_WORD;
  int dim = shape.dim, group = shape.heads / shape.kv_heads, words = dim / PER;
  int last = std::min(first + QUERIES, text.length), rows = (last - first) * group;
  int window = shape.window < 0 ? text.length : shape.window;
  int base = std::max(0, first - window) / LANES * LANES;
  int width = whole_pairs(std::min(text.length, last + window) - base);
  int room = whole_pairs(text.length) + PAIR;

  static thread_local std::vector<Word> kept_q, kept_p;
  static thread_local std::vector<float> kept_s, kept_sum;
  Word* left = scratch(kept_q, size_t(rows) * words);
  float* scores = scratch(kept_s, size_t(rows) * width);
  Word* weights = scratch(kept_p, size_t(rows) * width / PER);
  float* sums = scratch(kept_sum, rows);

  auto at = [&](int row) {  // of this row's head in q and out
    return (ptrdiff_t(text.start + first + row / group) * shape.heads + text.head * group + row % group) * dim;
  };
  for (int r = 0; r < rows; r++) convert(q + at(r), dim, reinterpret_cast<Value*>(left + ptrdiff_t(r) * words));
  const Word* b = reinterpret_cast<const Word*>(keys + text.at) + ptrdiff_t(base / LANES) * words * LANES;
  for (int j = 0; j < width; j += PAIR, b += 2 * words * LANES)
    each_tile(rows, [&](int r, int count) {
      tile_of<Dot>(count)(left + ptrdiff_t(r) * words, words, b, b + words * LANES, words,
                          reinterpret_cast<const char*>(b), 0, scores + ptrdiff_t(r) * width + j, width);
    });
  for (int r = 0; r < rows; r++) {
    int token = first + r / group;
    int low = std::max(0, token - window) - base, high = std::min(text.length, token + window + 1) - base;
    sums[r] = softmax(scores + ptrdiff_t(r) * width, low, high, width, shape.scale,
                      reinterpret_cast<Value*>(weights + ptrdiff_t(r) * width / PER));
  }
  alignas(64) float found[MAX_ROWS][PAIR];
  for (int c = 0; c < dim; c += PAIR) {
    b = reinterpret_cast<const Word*>(values + text.at) + ptrdiff_t(c) * (room / PER) + ptrdiff_t(base / PER) * LANES;
    each_tile(rows, [&](int r, int count) {
      tile_of<Dot>(count)(weights + ptrdiff_t(r) * width / PER, width / PER, b,
                          b + ptrdiff_t(room / PER) * LANES, width / PER, reinterpret_cast<const char*>(b), 0,
                          found, PAIR);
      for (int i = 0; i < count; i++) {
        T* to = out + at(r + i) + c;
        float by = 1.0f / sums[r + i];
        for (int j = 0; j < PAIR; j++) store(to + j, found[i][j] * by);
      }
    });
  }
}

// dim is a multiple of PAIR. starts [texts + 1] are the texts' bounds.
template <class Dot, class T>
static void attention(const T* q, const T* k, const T* v, const int32_t* starts, int texts, const Shape& shape,
                      T* out, int threads) {
  static thread_local std::vector<Text> all;
  static thread_local std::vector<std::pair<int, int>> blocks;
  static thread_local std::vector<typename Dot::Value> kept_keys, kept_values;
  all.clear(), blocks.clear();
  ptrdiff_t size = 0;
  for (int t = 0; t < texts; t++)
    for (int head = 0; head < shape.kv_heads; head++) {
      Text text{starts[t], starts[t + 1] - starts[t], head, size};
      for (int first = 0; first < text.length; first += QUERIES) blocks.push_back({int(all.size()), first});
      all.push_back(text);
      size += ptrdiff_t(whole_pairs(text.length) + PAIR) * shape.dim;
    }
  auto *keys = scratch(kept_keys, size), *values = scratch(kept_values, size);
  // Threads have thread_locals of their own: these are the caller's.
  const Text* text = all.data();
  const std::pair<int, int>* block = blocks.data();
  int count = int(all.size()), tasks = int(blocks.size());
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(dynamic)
    for (int i = 0; i < count; i++) pack_text<Dot>(text[i], shape, k, v, keys, values);
#pragma omp for schedule(dynamic)
    for (int i = 0; i < tasks; i++)
      attend<Dot>(text[block[i].first], block[i].second, shape, q, keys, values, out);
  }
}
