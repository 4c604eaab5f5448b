/* The row kernels, compiled once per instruction set (isa.h). */

#include "rows.h"

#if defined(__x86_64__)
  #include <immintrin.h>
#endif

#include "ids.h"

/* Every cache line of a row. (The last one apart, for rows that start within a line.) */
FE_TARGET FE_INLINE void fetch_row(const char *row, size_t n)
{
    for (size_t j = 0; j < n; j += FE_LINE)
        __builtin_prefetch(row + j);
    if (n % FE_LINE)
        __builtin_prefetch(row + n - 1);
}

/* Rows of codes are so short that the line in which they end is worth a fetch, too, where they do not begin with
 * a line. */
FE_TARGET FE_INLINE void fetch_short(const char *row, size_t n)
{
    __builtin_prefetch(row);
    for (size_t j = FE_LINE; j < n; j += FE_LINE)
        __builtin_prefetch(row + j);
    __builtin_prefetch(row + n - 1);
}

/* The scales and zero points of a row of codes as well: they lie elsewhere. */
FE_TARGET FE_INLINE void fetch_codes(const fe_codes *how, const char *data, size_t row_bytes, uint64_t id)
{
    fetch_short(data + id * row_bytes, row_bytes);
    fetch_short(how->scale + id * how->scale_bytes, how->scale_bytes);
    if (how->zero)
        fetch_short((const char *)how->zero + id * how->groups, how->groups);
}

FE_TARGET static void fetch(const struct fe_table *table, const uint64_t *block, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; ++i)
        if (table->codes)
            fetch_codes(table->codes, table->data, table->row_bytes, block[i]);
        else
            fetch_row(table->data + block[i] * table->row_bytes, table->row_bytes);
}

/* out row i from `row`, for each of the n ids, while row i + ahead is fetched as long as its id is known. */
#define FE_EACH_ROW(body)                                                                         \
    ptrdiff_t i = 0;                                                                              \
    for (ptrdiff_t end = known - ahead < n ? known - ahead : n; ahead && i < end; ++i) {          \
        fetch_row(table + block[i + ahead] * row_bytes, row_bytes);                               \
        const char *row = table + block[i] * row_bytes;                                           \
        body                                                                                      \
    }                                                                                             \
    for (; i < n; ++i) {                                                                          \
        const char *row = table + block[i] * row_bytes;                                           \
        body                                                                                      \
    }

/* Rows of `lines` times 64 bytes and, with a tail, up to 63 more, in steps of 64 bytes of which the last
 * overlaps the one before it. Nothing outside the row is read or written. Called with constants, so that
 * the steps of a row follow one another without a loop: 10 to 20 % where rows come out of a cache. */
FE_TARGET FE_INLINE void copy_lines(char *restrict out, const char *table, size_t row_bytes,
                                    const uint64_t *block, ptrdiff_t n, ptrdiff_t known, ptrdiff_t ahead,
                                    size_t lines, size_t tail)
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
                                     const uint64_t *block, ptrdiff_t n, ptrdiff_t known, ptrdiff_t ahead,
                                     size_t half)
{
    FE_EACH_ROW({
        memcpy(out, row, half);
        memcpy(out + row_bytes - half, row + row_bytes - half, half);
        out += row_bytes;
    })
}

/* A loop for each number of lines. */
#define FE_CASES(one) one(1) one(2) one(3) one(4) one(5) one(6) one(7) one(8)

#define FE_COPY_LINES(lines)                                                                      \
    case lines:                                                                                   \
        if (row_bytes % FE_LINE)                                                                  \
            copy_lines(out, table, row_bytes, block, n, known, ahead, lines, 1);                  \
        else                                                                                      \
            copy_lines(out, table, lines * FE_LINE, block, n, known, ahead, lines, 0);            \
        break;

FE_TARGET static void copy(char *restrict out, const struct fe_table *rows, const uint64_t *block, ptrdiff_t n,
                           ptrdiff_t known)
{
    const char *table = rows->data;
    const size_t row_bytes = rows->row_bytes;
    const ptrdiff_t ahead = rows->ahead;
    switch (row_bytes / FE_LINE) {
    case 0:
        if (row_bytes >= 32)
            copy_halves(out, table, row_bytes, block, n, known, ahead, 32);
        else if (row_bytes >= 16)
            copy_halves(out, table, row_bytes, block, n, known, ahead, 16);
        else if (row_bytes >= 8)
            copy_halves(out, table, row_bytes, block, n, known, ahead, 8);
        else if (row_bytes >= 4)
            copy_halves(out, table, row_bytes, block, n, known, ahead, 4);
        else {
            FE_EACH_ROW({
                for (size_t j = 0; j < row_bytes; ++j)
                    out[j] = row[j];
                out += row_bytes;
            })
        }
        break;
    FE_CASES(FE_COPY_LINES)
    default:
        copy_lines(out, table, row_bytes, block, n, known, ahead, row_bytes / FE_LINE, row_bytes % FE_LINE);
    }
}

#if defined(__x86_64__)
/* One step of a store that goes to memory past the caches. */
#if defined(FE_512)
  #define FE_STEP 64
  #define FE_STREAM(to, from) _mm512_stream_si512((__m512i *)(to), _mm512_loadu_si512(from))
#else
  #define FE_STEP 16
  #define FE_STREAM(to, from) FE_STREAM_16(to, from)
#endif
#define FE_STREAM_16(to, from) _mm_stream_si128((__m128i *)(to), _mm_loadu_si128((const __m128i *)(from)))

/* Such stores reach memory in whole lines without reading them first. Rows follow one another, so that lines
 * which two rows share are completed as well. Steps of 16 bytes up to a line's start, then of whole lines. */
FE_TARGET FE_INLINE void stream_row(char *restrict out, const char *restrict row, size_t n)
{
    size_t done = 0;
    size_t head = (FE_LINE - ((uintptr_t)out & (FE_LINE - 1))) & (FE_LINE - 1);
    for (; done < head && done < n; done += 16)
        FE_STREAM_16(out + done, row + done);
    for (; done + FE_STEP <= n; done += FE_STEP)
        FE_STREAM(out + done, row + done);
    for (; done < n; done += 16)
        FE_STREAM_16(out + done, row + done);
}

/* Rows and output in whole lines. With a constant number, as in copy_lines. */
FE_TARGET FE_INLINE void stream_lines(char *restrict out, const char *table, size_t row_bytes,
                                      const uint64_t *block, ptrdiff_t n, ptrdiff_t known, ptrdiff_t ahead)
{
    FE_EACH_ROW({
        for (size_t j = 0; j < row_bytes; j += FE_STEP)
            FE_STREAM(out + j, row + j);
        out += row_bytes;
    })
}

#define FE_STREAM_LINES(lines)                                                                    \
    case lines:                                                                                   \
        stream_lines(out, table, lines * FE_LINE, block, n, known, ahead);                        \
        break;

FE_TARGET static void stream(char *restrict out, const struct fe_table *rows, const uint64_t *block,
                             ptrdiff_t n, ptrdiff_t known)
{
    const char *table = rows->data;
    const size_t row_bytes = rows->row_bytes;
    const ptrdiff_t ahead = rows->ahead;
    switch (row_bytes % FE_LINE || (uintptr_t)out % FE_LINE ? 0 : row_bytes / FE_LINE) {
    FE_CASES(FE_STREAM_LINES)
    default:
        FE_EACH_ROW({
            stream_row(out, row, row_bytes);
            out += row_bytes;
        })
    }
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

FE_TARGET static void widen_bfloat16(char *out, const struct fe_table *rows, const uint64_t *block,
                                     ptrdiff_t n, ptrdiff_t known)
{
    const char *table = rows->data;
    const size_t row_bytes = rows->row_bytes;
    const ptrdiff_t ahead = rows->ahead;
    FE_EACH_ROW({
        widen_row(out, row, row_bytes);
        out += 2 * row_bytes;
    })
}

#include "codes.h"

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

#define FE_ADD_LINES(name, type, lines)                                                           \
    case lines:                                                                                   \
        name##_rows(acc, values, lines * FE_LINE / sizeof(type), row_bytes, rows, positions, n,   \
                    ahead, goes_on);                                                              \
        break;

#define FE_ADD(name, type, is_sum)                                                                \
    FE_TARGET FE_INLINE void name##_row(type *restrict to, const type *restrict from,             \
                                        ptrdiff_t dim, int is_first)                              \
    {                                                                                             \
        if (is_first)                                                                             \
            for (ptrdiff_t j = 0; j < dim; ++j)                                                   \
                to[j] = (type)0 + from[j];                                                        \
        else                                                                                      \
            for (ptrdiff_t j = 0; j < dim; ++j)                                                   \
                to[j] += from[j];                                                                 \
    }                                                                                             \
                                                                                                  \
    FE_TARGET FE_INLINE void name##_rows(char *acc, const char *values, ptrdiff_t dim,            \
                                         size_t row_bytes, const uint64_t *rows,                  \
                                         const uint64_t *positions, ptrdiff_t n, ptrdiff_t ahead, \
                                         int goes_on)                                             \
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
    }                                                                                             \
                                                                                                  \
    /* A loop for each number of lines, as in copy. */                                            \
    FE_TARGET static void name(char *acc, const char *values, ptrdiff_t dim, size_t row_bytes,    \
                               const uint64_t *rows, const uint64_t *positions, ptrdiff_t n,      \
                               ptrdiff_t ahead, int goes_on)                                      \
    {                                                                                             \
        switch (dim * sizeof(type) % FE_LINE ? 0 : dim * sizeof(type) / FE_LINE) {                \
            FE_ADD_LINES(name, type, 1)                                                           \
            FE_ADD_LINES(name, type, 2)                                                           \
            FE_ADD_LINES(name, type, 4)                                                           \
            FE_ADD_LINES(name, type, 8)                                                           \
        default:                                                                                  \
            name##_rows(acc, values, dim, row_bytes, rows, positions, n, ahead, goes_on);         \
        }                                                                                         \
    }

FE_ADD(add_float32, float, 0)
FE_ADD(add_float64, double, 0)
FE_ADD(sum_float32, float, 1)
FE_ADD(sum_float64, double, 1)

const fe_rows FE_PASTE(fe_rows, FE_ISA) = {
    FE_TEXT(FE_ISA), loader, first_outside, fetch, copy, stream, widen_bfloat16, float32_codes,
    stream_float32_codes, float64_codes, stream_float64_codes, float16_codes, stream_float16_codes,
    bfloat16_codes, stream_bfloat16_codes, add_float32, add_float64, sum_float32, sum_float64,
};
