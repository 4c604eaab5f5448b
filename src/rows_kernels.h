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

#include "ids.h"

#define FE_LINE 64
#define FE_INLINE static inline __attribute__((always_inline))

/* What the memory needs to know early: every cache line of a row. (The last one apart, for rows that start
 * within a line.) */
FE_TARGET FE_INLINE void fetch_row(const char *row, size_t n)
{
    for (size_t j = 0; j < n; j += FE_LINE)
        __builtin_prefetch(row + j);
    if (n > FE_LINE)
        __builtin_prefetch(row + n - 1);
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

/* Rows of `lines` times 64 bytes and, with a tail, up to 63 more, in steps of 64 bytes of which the last
 * overlaps the one before it. Nothing outside the row is read or written. Called with constants, so that
 * the steps of a row follow one another without a loop: 10 to 20 % where rows come out of a cache. */
FE_TARGET FE_INLINE void copy_lines(char *restrict out, const char *table, size_t row_bytes,
                                    const uint64_t *block, ptrdiff_t n, ptrdiff_t ahead, size_t lines,
                                    int tail)
{
    FE_EACH_ROW({
        for (size_t j = 0; j < lines; ++j)
            memcpy(out + j * FE_LINE, row + j * FE_LINE, FE_LINE);
        if (tail)
            memcpy(out + row_bytes - FE_LINE, row + row_bytes - FE_LINE, FE_LINE);
        out += row_bytes;
    })
}

/* Rows of at least `half` and at most twice as many bytes, as two overlapping halves. */
FE_TARGET FE_INLINE void copy_halves(char *restrict out, const char *table, size_t row_bytes,
                                     const uint64_t *block, ptrdiff_t n, ptrdiff_t ahead, size_t half)
{
    FE_EACH_ROW({
        memcpy(out, row, half);
        memcpy(out + row_bytes - half, row + row_bytes - half, half);
        out += row_bytes;
    })
}

#define FE_COPY_LINES(lines)                                                                      \
    case lines:                                                                                   \
        if (row_bytes % FE_LINE)                                                                  \
            copy_lines(out, table, row_bytes, block, n, ahead, lines, 1);                         \
        else                                                                                      \
            copy_lines(out, table, lines * FE_LINE, block, n, ahead, lines, 0);                   \
        break;

FE_TARGET static void copy(char *restrict out, const char *table, size_t row_bytes, const uint64_t *block,
                           ptrdiff_t n, ptrdiff_t ahead)
{
    switch (row_bytes / FE_LINE) {
    case 0:
        if (row_bytes >= 32)
            copy_halves(out, table, row_bytes, block, n, ahead, 32);
        else if (row_bytes >= 16)
            copy_halves(out, table, row_bytes, block, n, ahead, 16);
        else if (row_bytes >= 8)
            copy_halves(out, table, row_bytes, block, n, ahead, 8);
        else if (row_bytes >= 4)
            copy_halves(out, table, row_bytes, block, n, ahead, 4);
        else {
            FE_EACH_ROW({
                for (size_t j = 0; j < row_bytes; ++j)
                    out[j] = row[j];
                out += row_bytes;
            })
        }
        break;
    FE_COPY_LINES(1)
    FE_COPY_LINES(2)
    FE_COPY_LINES(3)
    FE_COPY_LINES(4)
    FE_COPY_LINES(5)
    FE_COPY_LINES(6)
    FE_COPY_LINES(7)
    FE_COPY_LINES(8)
    default:
        copy_lines(out, table, row_bytes, block, n, ahead, row_bytes / FE_LINE, row_bytes % FE_LINE != 0);
    }
}

#if defined(__x86_64__)
/* Stores that go to memory in whole lines without reading them first. Rows follow one another, so that lines
 * which two rows share are completed as well. Steps of 16 bytes up to a line's start, then of whole lines. */
FE_TARGET FE_INLINE void stream_row(char *restrict out, const char *restrict row, size_t n)
{
    size_t done = 0;
    size_t head = (FE_LINE - ((uintptr_t)out & (FE_LINE - 1))) & (FE_LINE - 1);
    for (; done < head && done < n; done += 16)
        _mm_stream_si128((__m128i *)(out + done), _mm_loadu_si128((const __m128i *)(row + done)));
#if defined(FE_512)
    for (; done + FE_LINE <= n; done += FE_LINE)
        _mm512_stream_si512((__m512i *)(out + done), _mm512_loadu_si512(row + done));
#endif
    for (; done < n; done += 16)
        _mm_stream_si128((__m128i *)(out + done), _mm_loadu_si128((const __m128i *)(row + done)));
}

FE_TARGET static void stream(char *restrict out, const char *table, size_t row_bytes, const uint64_t *block,
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

FE_TARGET static void add_float32(void *acc_, const void *row_, ptrdiff_t dim)
{
    float *restrict acc = acc_;
    const float *restrict row = row_;
    for (ptrdiff_t j = 0; j < dim; ++j)
        acc[j] += row[j];
}

FE_TARGET static void add_float64(void *acc_, const void *row_, ptrdiff_t dim)
{
    double *restrict acc = acc_;
    const double *restrict row = row_;
    for (ptrdiff_t j = 0; j < dim; ++j)
        acc[j] += row[j];
}

const fe_rows FE_PASTE(fe_rows, FE_ISA) = {
    FE_TEXT(FE_ISA), loader, first_outside, copy, stream, widen_bfloat16, add_float32, add_float64,
};
