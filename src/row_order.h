/* Positions sorted by row: what makes every row's additions the work of one owner.
 *
 * A stable radix sort, so that each row's values are added in the order in which they appear
 * (np.add.at's order) whichever thread owns the row. Least significant digit first, 11 bits a pass:
 * the histogram (16 KiB) stays in the first-level cache and a table of up to 4 million rows takes
 * two passes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint64_t row;      /* where it goes */
    uint64_t position; /* which value it is */
} fe_entry;

enum { FE_DIGIT_BITS = 11, FE_DIGITS = 1 << FE_DIGIT_BITS };

/* Below this many entries insertion is quicker than clearing a histogram. */
enum { FE_INSERTION = 48 };

static void fe_insertion_sort(fe_entry *entries, ptrdiff_t n)
{
    for (ptrdiff_t i = 1; i < n; ++i) {
        fe_entry entry = entries[i];
        ptrdiff_t j = i;
        for (; j > 0 && entries[j - 1].row > entry.row; --j)
            entries[j] = entries[j - 1];
        entries[j] = entry;
    }
}

/* Sort n entries whose rows are below `rows`; `spare` has room for n. Returns where the sorted
 * entries are: one of the two arrays. */
static fe_entry *fe_sort_entries(fe_entry *entries, fe_entry *spare, ptrdiff_t n, uint64_t rows)
{
    if (n < FE_INSERTION) {
        fe_insertion_sort(entries, n);
        return entries;
    }
    for (int shift = 0; shift < 64 && (rows - 1) >> shift; shift += FE_DIGIT_BITS) {
        ptrdiff_t starts[FE_DIGITS];
        memset(starts, 0, sizeof starts);
        for (ptrdiff_t i = 0; i < n; ++i)
            ++starts[(entries[i].row >> shift) & (FE_DIGITS - 1)];
        ptrdiff_t total = 0;
        for (int digit = 0; digit < FE_DIGITS; ++digit) {
            ptrdiff_t count = starts[digit];
            starts[digit] = total;
            total += count;
        }
        for (ptrdiff_t i = 0; i < n; ++i)
            spare[starts[(entries[i].row >> shift) & (FE_DIGITS - 1)]++] = entries[i];
        fe_entry *sorted = spare;
        spare = entries;
        entries = sorted;
    }
    return entries;
}
