/* What becomes of ids outside the table: other ids take their place in the private block (ids.h), so that
 * the caller's ids stay as they are and the kernels see only ids inside. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { FE_RAISE, FE_CLIP, FE_WRAP, FE_ROW };

typedef struct {
    int way;
    int is_signed; /* whether ids of 2^63 and more are negative ones */
    uint64_t row;  /* FE_ROW: of every id outside. As many as the table has rows: of none */
} fe_policy;

/* Replace those of n ids that are not below `rows`, which is not 0 unless all have no row. */
static inline void fe_resolve(const fe_policy *policy, uint64_t *block, ptrdiff_t n, uint64_t rows)
{
    const uint64_t negative = policy->is_signed ? (uint64_t)1 << 63 : 0;
    switch (policy->way) {
    case FE_CLIP:
        for (ptrdiff_t i = 0; i < n; ++i)
            if (block[i] >= rows)
                block[i] = block[i] & negative ? 0 : rows - 1;
        break;
    case FE_WRAP: /* -1 is the last row: its complement 0, counted from the end */
        for (ptrdiff_t i = 0; i < n; ++i)
            if (block[i] >= rows)
                block[i] = block[i] & negative ? rows - 1 - ~block[i] % rows : block[i] % rows;
        break;
    case FE_ROW:
        for (ptrdiff_t i = 0; i < n; ++i)
            block[i] = block[i] < rows ? block[i] : policy->row;
        break;
    default: break;
    }
}
