/* Adding up values by row: who adds what, in which order.
 *
 * All ids are copied and checked first. On one thread the values are then added as they come. For
 * several, the positions are put in order by a key of their row: equal keys form a group, each part
 * of the work takes an equal share of the ordered positions, and a group that reaches into several
 * shares is divided between them by columns. So every number of every row has one owner, who adds
 * in the order of appearance (the ordering is stable): no atomics, the same bits for any number of
 * parts, and no part has more to do than another, however often one row is named.
 *
 * Additions in place need rows of one group to lie together and nothing else, so their key is a few
 * bits of a hash: one pass. Sums of each row need the rows ascending: the key is the row itself.
 *
 * The functions that end in _part are jobs for a team (team.h); the parts of one never write to the
 * same place.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ids.h"
#include "rows.h"

typedef struct {
    uint64_t row;      /* where it goes */
    uint64_t position; /* which value it is */
} fe_entry;

typedef struct {
    /* What the ids are. */
    const char *ids;
    ptrdiff_t id_stride;
    fe_load load;
    ptrdiff_t n;
    uint64_t table_rows;
    /* What is added to what. */
    char *target;
    const char *values;
    size_t row_bytes;
    ptrdiff_t itemsize;
    ptrdiff_t ahead; /* rows fetched ahead; 0: none */
    fe_add add;
    int threads;
    /* The private copy of the ids. Where `order` is set they are in `order`, by key, with their positions. */
    uint64_t *rows;
    fe_entry *order;
    fe_entry *spare[2]; /* where the next pass puts them, and room for the one after it */
    /* The key of a row: a hash of its cache line, or itself. */
    int line_bits;
    uint64_t factor;
    int key_shift;
    /* One pass of the ordering: which bits of the key it looks at, and for each part where its entries go. */
    int shift;
    int bits;
    ptrdiff_t *starts; /* parts x 2^bits */
    /* For each part: the position of its first id outside the table (n: none), the rows that begin before it. */
    ptrdiff_t *outside;
    ptrdiff_t *begun;
    int64_t *indices; /* where the rows' numbers go, if it is sums of each row that are asked for; else NULL */
} fe_additions;

/* Where the given one of nearly equal parts of n begins. */
static inline ptrdiff_t fe_share(ptrdiff_t n, ptrdiff_t part, ptrdiff_t parts)
{
    ptrdiff_t rest = n % parts;
    return n / parts * part + (part < rest ? part : rest);
}

/* Which part i is in. */
static inline ptrdiff_t fe_part_of(ptrdiff_t i, ptrdiff_t n, ptrdiff_t parts)
{
    ptrdiff_t each = n / parts, rest = n % parts, longer = rest * (each + 1);
    return i < longer ? i / (each + 1) : rest + (i - longer) / each;
}

/* --- Ordering: a stable radix sort, least significant digit first, each pass shared by parts ---- */

static inline uint64_t fe_key(const fe_additions *a, uint64_t row)
{
    return ((row >> a->line_bits) * a->factor) >> a->key_shift;
}

static inline ptrdiff_t fe_digit(const fe_additions *a, uint64_t row)
{
    return (fe_key(a, row) >> a->shift) & (((uint64_t)1 << a->bits) - 1);
}

static inline fe_entry fe_entry_at(const fe_additions *a, ptrdiff_t i)
{
    if (a->order)
        return a->order[i];
    return (fe_entry){a->rows[i], (uint64_t)i};
}

/* Count a share's entries by digit. */
static void fe_count_part(void *state, ptrdiff_t part, ptrdiff_t parts)
{
    const fe_additions *a = state;
    ptrdiff_t *counts = a->starts + (part << a->bits), stop = fe_share(a->n, part + 1, parts);
    memset(counts, 0, sizeof *counts << a->bits);
    for (ptrdiff_t i = fe_share(a->n, part, parts); i < stop; ++i)
        ++counts[fe_digit(a, a->order ? a->order[i].row : a->rows[i])];
}

/* Turn the counts into places: by digit, and for one digit by part. */
static void fe_place(const fe_additions *a, ptrdiff_t parts)
{
    ptrdiff_t total = 0;
    for (ptrdiff_t digit = 0; digit < (ptrdiff_t)1 << a->bits; ++digit)
        for (ptrdiff_t part = 0; part < parts; ++part) {
            ptrdiff_t *start = a->starts + (part << a->bits) + digit, count = *start;
            *start = total;
            total += count;
        }
}

/* Put a share's entries into their places. */
static void fe_order_part(void *state, ptrdiff_t part, ptrdiff_t parts)
{
    const fe_additions *a = state;
    ptrdiff_t *next = a->starts + (part << a->bits), stop = fe_share(a->n, part + 1, parts);
    for (ptrdiff_t i = fe_share(a->n, part, parts); i < stop; ++i) {
        fe_entry entry = fe_entry_at(a, i);
        a->spare[0][next[fe_digit(a, entry.row)]++] = entry;
    }
}

/* --- Ids ---------------------------------------------------------------------------------------- */

/* Copy and check a share of the ids, and count them for the first pass of an ordering, if there is one. */
static void fe_copy_part(void *state, ptrdiff_t part, ptrdiff_t parts)
{
    enum { BLOCK = 256 }; /* copied and checked while they are in the first-level cache */
    const fe_additions *a = state;
    ptrdiff_t i = fe_share(a->n, part, parts), stop = fe_share(a->n, part + 1, parts);
    a->outside[part] = a->n;
    for (ptrdiff_t n; i < stop; i += n) {
        n = stop - i < BLOCK ? stop - i : BLOCK;
        a->load(a->ids + i * a->id_stride, a->id_stride, n, a->rows + i);
        ptrdiff_t first = fe_first_outside(a->rows + i, n, a->table_rows);
        if (first < n) {
            a->outside[part] = i + first;
            return;
        }
    }
    if (a->starts)
        fe_count_part(state, part, parts);
}

/* --- Adding ------------------------------------------------------------------------------------- */

/* Add the bytes [from, to) of the values of the entries [i, stop). For sums of each row, the row that the first
 * of them belongs to begins there and is number `row`. */
static void fe_add_entries(const fe_additions *a, ptrdiff_t i, ptrdiff_t stop, ptrdiff_t row, size_t from, size_t to)
{
    enum { BLOCK = 512 }; /* 8 KiB: the kernels take rows and positions apart, and fetch ahead inside a block */
    uint64_t rows[BLOCK], positions[BLOCK];
    const fe_entry *entries = a->order;
    uint64_t last = entries[i].row, begun = UINT64_MAX;
    for (ptrdiff_t n; i < stop; i += n) {
        n = stop - i < BLOCK ? stop - i : BLOCK;
        for (ptrdiff_t j = 0; j < n; ++j) {
            rows[j] = entries[i + j].row;
            positions[j] = entries[i + j].position;
        }
        if (a->indices) {
            for (ptrdiff_t j = 0; j < n; ++j) { /* from the number of a row in the table to its number in the sums */
                row += rows[j] != last;
                last = rows[j];
                rows[j] = row;
                if (from == 0)
                    a->indices[row] = last;
            }
        }
        a->add(a->target + from, a->values + from, (to - from) / a->itemsize, a->row_bytes, rows, positions, n,
               a->ahead, begun == rows[0]);
        begun = rows[n - 1];
    }
}

static inline int fe_same_group(const fe_additions *a, ptrdiff_t i, ptrdiff_t j)
{
    return fe_key(a, a->order[i].row) == fe_key(a, a->order[j].row);
}

/* The last entry of i's group in the direction of `step` (1 or -1): strides that double, then halve. */
static ptrdiff_t fe_end_of_group(const fe_additions *a, ptrdiff_t i, ptrdiff_t step)
{
    ptrdiff_t room = step > 0 ? a->n - 1 - i : i, inside = 0, stride = 1;
    while (inside + stride <= room && fe_same_group(a, i, i + step * (inside + stride))) {
        inside += stride;
        stride *= 2;
    }
    for (; stride; stride /= 2)
        if (inside + stride <= room && fe_same_group(a, i, i + step * (inside + stride)))
            inside += stride;
    return i + step * inside;
}

/* This part's columns of the group that entry i is in, which reaches into several parts. Not more columns than
 * threads, and whole cache lines; returns the end of the group. */
static ptrdiff_t fe_add_columns(const fe_additions *a, ptrdiff_t i, ptrdiff_t row, ptrdiff_t part, ptrdiff_t parts)
{
    enum { LINE = 64 };
    ptrdiff_t first = fe_end_of_group(a, i, -1), stop = fe_end_of_group(a, i, 1) + 1;
    ptrdiff_t begins = fe_part_of(first, a->n, parts), pieces = fe_part_of(stop - 1, a->n, parts) - begins + 1;
    ptrdiff_t lines = (a->row_bytes + LINE - 1) / LINE, piece = part - begins;
    pieces = pieces < a->threads ? pieces : a->threads;
    if (piece < pieces) {
        size_t from = LINE * fe_share(lines, piece, pieces), to = LINE * fe_share(lines, piece + 1, pieces);
        to = to < a->row_bytes ? to : a->row_bytes;
        if (piece == 0 || from < to)
            fe_add_entries(a, first, stop, row, from, to);
    }
    return stop;
}

/* Add a share of the ordered entries: whole groups, and columns of those that reach beyond it. Where nothing was
 * ordered there is one part, which adds the values as they come. */
static void fe_add_part(void *state, ptrdiff_t part, ptrdiff_t parts)
{
    const fe_additions *a = state;
    if (!a->order) {
        a->add(a->target, a->values, a->row_bytes / a->itemsize, a->row_bytes, a->rows, NULL, a->n, a->ahead, 0);
        return;
    }
    ptrdiff_t i = fe_share(a->n, part, parts), stop = fe_share(a->n, part + 1, parts);
    ptrdiff_t row = a->indices ? a->begun[part] : 0, next_row = a->indices ? a->begun[part + 1] : 0;
    if (i > 0 && fe_same_group(a, i - 1, i))
        i = fe_add_columns(a, i, row - 1, part, parts);
    if (i < stop && stop < a->n && fe_same_group(a, stop - 1, stop)) {
        fe_add_columns(a, stop - 1, next_row - 1, part, parts);
        stop = fe_end_of_group(a, stop - 1, -1);
    }
    if (i < stop)
        fe_add_entries(a, i, stop, row, 0, a->row_bytes);
}

/* How many rows begin in a share of the entries, which are in the order of their rows. */
static void fe_begin_part(void *state, ptrdiff_t part, ptrdiff_t parts)
{
    const fe_additions *a = state;
    ptrdiff_t stop = fe_share(a->n, part + 1, parts), count = 0;
    for (ptrdiff_t i = fe_share(a->n, part, parts); i < stop; ++i)
        count += i == 0 || a->order[i].row != a->order[i - 1].row;
    a->begun[part] = count;
}
