/* The row kernels, compiled once per instruction set. Before including this file define
 * FE_ISA (a suffix) and FE_TARGET (the functions' target attribute, may be empty). */

#include "rows.h"

#if defined(__x86_64__)
  #include <immintrin.h>
#endif

#define FE_PASTE_(a, b) a##_##b
#define FE_PASTE(a, b) FE_PASTE_(a, b)
#define FE_TEXT_(a) #a
#define FE_TEXT(a) FE_TEXT_(a)

/* Rows of 64 bytes and more in steps of one cache line, the last step overlapping the one before it;
 * shorter rows as two overlapping halves. Nothing outside the row is read or written. */
FE_TARGET static inline void copy_row(char *restrict out, const char *restrict row, size_t n)
{
    if (n >= 64) {
        size_t done = 0;
        for (; done + 64 <= n; done += 64)
            memcpy(out + done, row + done, 64);
        if (done < n)
            memcpy(out + n - 64, row + n - 64, 64);
    } else if (n >= 32) {
        memcpy(out, row, 32);
        memcpy(out + n - 32, row + n - 32, 32);
    } else if (n >= 16) {
        memcpy(out, row, 16);
        memcpy(out + n - 16, row + n - 16, 16);
    } else if (n >= 8) {
        memcpy(out, row, 8);
        memcpy(out + n - 8, row + n - 8, 8);
    } else if (n >= 4) {
        memcpy(out, row, 4);
        memcpy(out + n - 4, row + n - 4, 4);
    } else {
        for (size_t j = 0; j < n; ++j)
            out[j] = row[j];
    }
}

FE_TARGET static inline void fetch_row(const char *row, size_t n)
{
    for (size_t j = 0; j < n; j += 64)
        __builtin_prefetch(row + j);
}

/* out row i from `row`, for each id of the block, with a burst for the first `ahead` rows. */
#define FE_EACH_ROW(body)                                                                         \
    for (ptrdiff_t i = 0; i < ahead && i < n; ++i)                                                \
        fetch_row(table + block[i] * row_bytes, row_bytes);                                       \
    for (ptrdiff_t i = 0; i < n; ++i) {                                                           \
        const char *row = table + block[i] * row_bytes;                                           \
        if (ahead && i + ahead < n)                                                               \
            fetch_row(table + block[i + ahead] * row_bytes, row_bytes);                           \
        body                                                                                      \
    }

FE_TARGET static void copy(char *out, const char *table, size_t row_bytes, const uint64_t *block,
                           ptrdiff_t n, ptrdiff_t ahead)
{
    FE_EACH_ROW({
        copy_row(out, row, row_bytes);
        out += row_bytes;
    })
}

#if defined(__x86_64__)
/* Stores that go to memory in whole lines without reading them first. Rows follow one another, so that lines
 * which two rows share are completed as well. Steps of 16 bytes up to a line's start, then of whole lines. */
FE_TARGET static inline void stream_row(char *restrict out, const char *restrict row, size_t n)
{
    size_t done = 0;
    size_t head = (64 - ((uintptr_t)out & 63)) & 63;
    for (; done < head && done < n; done += 16)
        _mm_stream_si128((__m128i *)(out + done), _mm_loadu_si128((const __m128i *)(row + done)));
#if defined(FE_512)
    for (; done + 64 <= n; done += 64)
        _mm512_stream_si512((__m512i *)(out + done), _mm512_loadu_si512(row + done));
#endif
    for (; done < n; done += 16)
        _mm_stream_si128((__m128i *)(out + done), _mm_loadu_si128((const __m128i *)(row + done)));
}

FE_TARGET static void stream(char *out, const char *table, size_t row_bytes, const uint64_t *block,
                             ptrdiff_t n, ptrdiff_t ahead)
{
    FE_EACH_ROW({
        stream_row(out, row, row_bytes);
        out += row_bytes;
    })
    _mm_sfence();
}
#else
  #define stream copy
#endif

/* A bfloat16 is the upper half of a float32. */
FE_TARGET static inline void widen_row(char *restrict out, const char *restrict row, size_t row_bytes)
{
    for (size_t j = 0; j < row_bytes / 2; ++j) {
        uint16_t word;
        memcpy(&word, row + 2 * j, 2);
        uint32_t wide = (uint32_t)word << 16;
        memcpy(out + 4 * j, &wide, 4);
    }
}

FE_TARGET static void widen_bfloat16(char *out, const char *table, size_t row_bytes,
                                     const uint64_t *block, ptrdiff_t n, ptrdiff_t ahead)
{
    FE_EACH_ROW({
        widen_row(out, row, row_bytes);
        out += 2 * row_bytes;
    })
}

/* What lies in order is fetched by the processor itself: values without positions, and the rows of sums. */
#define FE_FETCH_PAIR(i, is_sum)                                                                  \
    do {                                                                                          \
        if (!(is_sum))                                                                            \
            fetch_row(acc + rows[i] * row_bytes, nbytes);                                         \
        if (positions)                                                                            \
            fetch_row(values + positions[i] * row_bytes, nbytes);                                 \
    } while (0)

/* Sums begin anew where the row changes. */
#define FE_BEGINS (i ? rows[i] != rows[i - 1] : !goes_on)

#define FE_ADD(name, type, is_sum)                                                                \
    FE_TARGET static inline void name##_row(type *restrict to, const type *restrict from,         \
                                            ptrdiff_t dim, int is_first)                          \
    {                                                                                             \
        if (is_first)                                                                             \
            for (ptrdiff_t j = 0; j < dim; ++j)                                                   \
                to[j] = (type)0 + from[j];                                                        \
        else                                                                                      \
            for (ptrdiff_t j = 0; j < dim; ++j)                                                   \
                to[j] += from[j];                                                                 \
    }                                                                                             \
                                                                                                  \
    FE_TARGET static void name(char *acc, const char *values, ptrdiff_t dim, size_t row_bytes,    \
                               const uint64_t *rows, const uint64_t *positions, ptrdiff_t n,      \
                               ptrdiff_t ahead, int goes_on)                                      \
    {                                                                                             \
        const size_t nbytes = dim * sizeof(type);                                                 \
        for (ptrdiff_t i = 0; i < ahead && i < n; ++i)                                            \
            FE_FETCH_PAIR(i, is_sum);                                                             \
        for (ptrdiff_t i = 0; i < n; ++i) {                                                       \
            if (ahead && i + ahead < n)                                                           \
                FE_FETCH_PAIR(i + ahead, is_sum);                                                 \
            uint64_t position = positions ? positions[i] : (uint64_t)i;                           \
            name##_row((type *)(acc + rows[i] * row_bytes),                                       \
                       (const type *)(values + position * row_bytes), dim, is_sum && FE_BEGINS);  \
        }                                                                                         \
        (void)goes_on;                                                                            \
    }

FE_ADD(add_float32, float, 0)
FE_ADD(add_float64, double, 0)
FE_ADD(sum_float32, float, 1)
FE_ADD(sum_float64, double, 1)

const fe_rows FE_PASTE(fe_rows, FE_ISA) = {
    FE_TEXT(FE_ISA), copy, stream, widen_bfloat16, add_float32, add_float64, sum_float32, sum_float64,
};
