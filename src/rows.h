/* One row in, one row out: the kernels, and which instruction set's copy of them runs.
 *
 * rows_kernels.h is compiled once per instruction set by the tiny rows_<isa>.c files; nothing else
 * in the project knows about instruction sets. All sets compute the same bits.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { FE_LINE = 64 }; /* bytes of a cache line */

/* block[i] = ids[i] for 0 <= i < n, sign-extended: a negative id becomes at least 2^63, so that one unsigned
 * comparison with the number of rows covers both ends. `ids` is aligned to its type. */
typedef void (*fe_load)(const char *ids, ptrdiff_t stride, ptrdiff_t n, uint64_t *block);

/* The way to load ids of `size` bytes: 1, 2, 4 or 8. */
typedef fe_load (*fe_loader)(ptrdiff_t size, int is_signed, int is_swapped);

/* Position of the first id in the block that is not below `rows`, or n. */
typedef ptrdiff_t (*fe_check)(const uint64_t *block, ptrdiff_t n, uint64_t rows);

/* Fetch the rows of n ids towards the caches. */
typedef void (*fe_fetch)(const char *table, size_t row_bytes, const uint64_t *block, ptrdiff_t n);

/* out[i] = table[block[i]] for 0 <= i < n, rows of `row_bytes` stored bytes, each id below the table's rows.
 * While row i is copied, row i + ahead is fetched, if i + ahead < known: the block goes on beyond n (ahead 0:
 * none is). */
typedef void (*fe_take)(char *out, const char *table, size_t row_bytes, const uint64_t *block,
                        ptrdiff_t n, ptrdiff_t known, ptrdiff_t ahead);

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
    fe_take copy;           /* bytes as they are */
    fe_take stream;         /* the same past the caches: row_bytes and out are multiples of 16 */
    fe_take widen_bfloat16; /* 16-bit words to float32 */
    fe_add add_float32;
    fe_add add_float64;
    fe_add sum_float32;
    fe_add sum_float64;
} fe_rows;

extern const fe_rows fe_rows_baseline;
#if defined(__x86_64__)
extern const fe_rows fe_rows_avx2, fe_rows_avx512;
#endif

/* The best set that this processor has, not above the one named (NULL: no limit). */
static inline const fe_rows *fe_best_rows(const char *limit)
{
#if defined(__x86_64__)
    int level = 2;
    if (limit && strcmp(limit, "avx2") == 0)
        level = 1;
    if (limit && strcmp(limit, "baseline") == 0)
        level = 0;
    __builtin_cpu_init();
    if (level >= 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return &fe_rows_avx512;
    if (level >= 1 && __builtin_cpu_supports("avx2"))
        return &fe_rows_avx2;
#endif
    (void)limit;
    return &fe_rows_baseline;
}
