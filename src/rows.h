/* One row in, one row out: the kernels (rows_kernels.h), compiled once per instruction set (isa.h). */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "isa.h"

enum { FE_LINE = 64 }; /* bytes of a cache line */

/* block[i] = ids[i] for 0 <= i < n, sign-extended: a negative id becomes at least 2^63, so that one unsigned
 * comparison with the number of rows covers both ends. `ids` is aligned to its type. */
typedef void (*fe_load)(const char *ids, ptrdiff_t stride, ptrdiff_t n, uint64_t *block);

/* The way to load ids of `size` bytes: 1, 2, 4 or 8. */
typedef fe_load (*fe_loader)(ptrdiff_t size, int is_signed, int is_swapped);

/* Position of the first id in the block that is not below `rows`, or n. */
typedef ptrdiff_t (*fe_check)(const uint64_t *block, ptrdiff_t n, uint64_t rows);

/* Columns that share a scale: those from the run before it up to `stop`. No run is empty. */
typedef struct {
    size_t stop;
    size_t group;
} fe_run;

/* How numbers are made of rows of codes: code / scale or, with zero points, (code - zero) * scale, each with one
 * IEEE operation of the scale's type and one rounding to the type of the numbers. */
typedef struct {
    size_t columns;     /* numbers in a row */
    int is_packed;      /* two codes a byte, the lower half first; else one */
    size_t groups;      /* scales of a row */
    size_t scale_bytes; /* of them */
    const char *scale;  /* float64 where the numbers are, else float32 */
    const int8_t *zero; /* as many as scales, or NULL */
    const fe_run *runs; /* of all columns */
} fe_codes;

struct fe_table;

/* Fetch the rows of n ids towards the caches. */
typedef void (*fe_fetch)(const struct fe_table *table, const uint64_t *block, ptrdiff_t n);

/* out[i] = table[block[i]] for 0 <= i < n, each id below the table's rows. While row i is taken, row i + ahead
 * is fetched, if i + ahead < known: the block goes on beyond n (ahead 0: none is). */
typedef void (*fe_take)(char *out, const struct fe_table *table, const uint64_t *block, ptrdiff_t n,
                        ptrdiff_t known);

/* Rows in memory, and how they are taken from it. */
struct fe_table {
    const char *data;
    ptrdiff_t rows;
    ptrdiff_t row_bytes;     /* of a stored row */
    ptrdiff_t out_row_bytes; /* of a returned row */
    ptrdiff_t ahead;         /* rows fetched ahead of the one being taken */
    const fe_codes *codes;   /* what the rows are, or NULL: numbers as they are */
    const void *owed;        /* what `take` finishes rows with on their way out, or NULL: they are finished */
    fe_take take;
    fe_take stream; /* the same past the caches, where out and out_row_bytes are multiples of 16; or NULL */
};

/* Row rows[i] of acc += row positions[i] of values (NULL: row i), in this order, for 0 <= i < n. Rows are
 * `row_bytes` apart in both, and `dim` of their numbers are added; acc and values do not overlap and are
 * aligned to their type. Rows i + ahead are fetched towards the cache meanwhile (0: none are).
 *
 * The kernels that make sums set a row of acc to 0.0 + its first value, where rows[i] differs from rows[i
 * - 1]; and at i = 0 unless it `goes_on`. */
typedef void (*fe_add)(char *acc, const char *values, ptrdiff_t dim, size_t row_bytes, const uint64_t *rows,
                       const uint64_t *positions, ptrdiff_t n, ptrdiff_t ahead, int goes_on);

typedef struct {
    const char *name;
    fe_loader loader;
    fe_check first_outside;
    fe_fetch fetch;
    fe_take copy; /* bytes as they are */
    fe_take stream;
    fe_take widen_bfloat16; /* 16-bit words to float32 */
    fe_take float32_codes;  /* codes to float32 */
    fe_take stream_float32_codes;
    fe_take float64_codes;
    fe_take stream_float64_codes;
    fe_take float16_codes;
    fe_take stream_float16_codes;
    fe_take bfloat16_codes;
    fe_take stream_bfloat16_codes;
    fe_add add_float32;
    fe_add add_float64;
    fe_add sum_float32;
    fe_add sum_float64;
} fe_rows;

extern const fe_rows fe_rows_baseline;
#if defined(__x86_64__)
extern const fe_rows fe_rows_avx2, fe_rows_avx512;
#endif

/* The copy for an instruction set (isa.h). */
static inline const fe_rows *fe_rows_for(int isa)
{
#if defined(__x86_64__)
    if (isa == FE_AVX512)
        return &fe_rows_avx512;
    if (isa == FE_AVX2)
        return &fe_rows_avx2;
#endif
    (void)isa;
    return &fe_rows_baseline;
}
