/* Adding up values by row: who adds what, in which order.
 *
 * All ids are copied and checked before anything is written. Then every number of every row has one
 * owner, who adds its values in the order of appearance: no atomics, and the same bits for any
 * number of threads.
 *
 * In place, one thread adds the values as they come. Several threads each walk over all ids and add
 * what goes to the rows that they own, so that nothing has to be put in order. Rows are dealt out by
 * a hash, in bundles whose ids are counted first; a bundle with too many ids for one owner (often a
 * single row) is shared by all of them, each adding some columns.
 *
 * Sums of each row are wanted in ascending order: there the positions are sorted by row, every part
 * of the work takes an equal share of them, and a row that reaches into several shares is divided
 * between these by columns.
 *
 * The functions that end in _part are jobs for a team (team.h); the parts of one never write to the
 * same place.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "outside.h"
#include "rows.h"
#include "team.h"

typedef struct {
    uint64_t row;      /* where it goes */
    uint64_t position; /* which value it is */
} fe_entry;

typedef struct {
    /* What the ids are, and their private copy. */
    const char *ids;
    ptrdiff_t id_stride;
    fe_load load;
    fe_check first_outside;
    ptrdiff_t n;
    uint64_t table_rows;
    fe_policy policy;
    uint64_t *rows;
    ptrdiff_t *outside; /* for each part: the position of its first id outside the table, or n */
    /* What is added to what. */
    char *target;
    const char *values;
    ptrdiff_t times; /* how many ids in a row each of the values belongs to (sums only) */
    size_t row_bytes;
    ptrdiff_t itemsize;
    ptrdiff_t ahead; /* rows fetched ahead; 0: none */
    fe_add add;
    /* For each part: how many of its ids are in each bundle, or have each digit; later where those begin. */
    ptrdiff_t *counts; /* parts x 2^bits; NULL: nothing is to be counted */
    int bits;
    /* In place: which bundle a row is in, and who owns it. */
    int line_bits;    /* rows that share a cache line have one owner: 2^line_bits of them */
    uint16_t *owners; /* of each bundle: a part, or FE_ALL */
    int any_shared;
    /* Sums: the digits of the rows in all and those that are sorted by now, the entries so far, room for the
     * next pass and the one after it, and how many rows begin before each part. */
    int key_bits;
    int done_bits;
    fe_entry *order;
    fe_entry *spare[2];
    ptrdiff_t *begun;
    int threads;
    int64_t *indices;
} fe_additions;

enum { FE_ALL = 0xffff };

/* The bytes of a row that the given one of so many pieces covers: whole cache lines. */
static inline void fe_columns(const fe_additions *a, ptrdiff_t piece, ptrdiff_t pieces, size_t *from,
                              size_t *to)
{
    ptrdiff_t lines = (a->row_bytes + FE_LINE - 1) / FE_LINE;
    *from = FE_LINE * fe_share(lines, piece, pieces);
    *to = FE_LINE * fe_share(lines, piece + 1, pieces);
    *from = *from < a->row_bytes ? *from : a->row_bytes;
    *to = *to < a->row_bytes ? *to : a->row_bytes;
}

static inline void fe_add_columns(const fe_additions *a, const uint64_t *rows, const uint64_t *positions,
                                  ptrdiff_t n, size_t from, size_t to, int goes_on)
{
    a->add(a->target + from, a->values + from, (ptrdiff_t)(to - from) / a->itemsize, a->row_bytes, rows,
           positions, n, a->ahead, goes_on);
}

/* --- Ids ---------------------------------------------------------------------------------------- */

static inline ptrdiff_t fe_bundle(uint64_t row, int line_bits, int bits)
{
    const uint64_t factor = 0x9E3779B97F4A7C15u; /* 2^64 over the golden ratio */
    return (ptrdiff_t)((row >> line_bits) * factor >> (64 - bits));
}

static inline ptrdiff_t fe_digit(uint64_t row, int done_bits, int bits)
{
    return row >> done_bits & (((uint64_t)1 << bits) - 1);
}

/* Copy and check a share of the ids; and count them by bundle, if there are owners. */
static inline void fe_copy_part(void *state, ptrdiff_t part, ptrdiff_t parts)
{
    enum { BLOCK = 256 }; /* checked and counted while it is in the first-level cache */
    const fe_additions *a = state;
    ptrdiff_t i = fe_share(a->n, part, parts), stop = fe_share(a->n, part + 1, parts);
    ptrdiff_t *counts = a->owners ? a->counts + (part << a->bits) : NULL;
    const int line_bits = a->line_bits, bits = a->bits;
    if (counts)
        memset(counts, 0, sizeof *counts << bits);
    a->outside[part] = a->n;
    for (ptrdiff_t n; i < stop; i += n) {
        uint64_t *rows = a->rows + i;
        n = stop - i < BLOCK ? stop - i : BLOCK;
        a->load(a->ids + i * a->id_stride, a->id_stride, n, rows);
        ptrdiff_t first = a->first_outside(rows, n, a->table_rows);
        if (first < n) {
            if (a->policy.way == FE_RAISE) {
                a->outside[part] = i + first;
                return;
            }
            fe_resolve(&a->policy, rows + first, n - first, a->table_rows);
        }
        if (counts)
            for (ptrdiff_t j = 0; j < n; ++j)
                ++counts[fe_bundle(rows[j], line_bits, bits)];
    }
}

/* --- In place ----------------------------------------------------------------------------------- */

/* Deal the bundles out to as many owners as there are parts, so that each has about as much to add: large
 * bundles first, each to the owner who has least. A bundle of more than an owner's share is for all. */
static inline void fe_deal(fe_additions *a, ptrdiff_t parts)
{
    const ptrdiff_t bundles = (ptrdiff_t)1 << a->bits, share = a->n / parts;
    ptrdiff_t *counts = a->counts, *loads = counts + bundles; /* where the second part's counts were */
    for (ptrdiff_t bundle = 0; bundle < bundles; ++bundle)
        for (ptrdiff_t part = 1; part < parts; ++part)
            counts[bundle] += counts[(part << a->bits) + bundle];
    memset(loads, 0, sizeof *loads * parts);
    for (int large = 1; large >= 0; --large)
        for (ptrdiff_t bundle = 0; bundle < bundles; ++bundle) {
            if ((counts[bundle] > share / 8) != large)
                continue;
            ptrdiff_t owner = 0;
            for (ptrdiff_t part = 1; part < parts; ++part)
                owner = loads[part] < loads[owner] ? part : owner;
            if (counts[bundle] > share && a->row_bytes > FE_LINE) {
                a->owners[bundle] = FE_ALL;
                a->any_shared = 1;
            } else {
                a->owners[bundle] = (uint16_t)owner;
                loads[owner] += counts[bundle];
            }
        }
}

/* Add columns of the values that go to the rows of one owner, or to those that are shared. */
static inline void fe_add_owned(const fe_additions *a, unsigned owner, size_t from, size_t to)
{
    enum { BLOCK = 512 }; /* 8 KiB of rows and positions; the kernels fetch ahead inside a block */
    uint64_t rows[BLOCK], positions[BLOCK];
    const uint64_t *ids = a->rows;
    const uint16_t *owners = a->owners;
    const int line_bits = a->line_bits, bits = a->bits;
    ptrdiff_t found = 0, n = a->n;
    for (ptrdiff_t i = 0; i < n; ++i) { /* no branch on an id: it would be foreseen half of the time */
        rows[found] = ids[i];
        positions[found] = i;
        found += owners[fe_bundle(ids[i], line_bits, bits)] == owner;
        if (found == BLOCK) {
            fe_add_columns(a, rows, positions, found, from, to, 0);
            found = 0;
        }
    }
    fe_add_columns(a, rows, positions, found, from, to, 0);
}

/* Add what one owner has to add. Where there are no owners there is one part. */
static inline void fe_add_part(void *state, ptrdiff_t part, ptrdiff_t parts)
{
    const fe_additions *a = state;
    if (!a->owners) {
        fe_add_columns(a, a->rows, NULL, a->n, 0, a->row_bytes, 0);
        return;
    }
    fe_add_owned(a, (unsigned)part, 0, a->row_bytes);
    if (a->any_shared) {
        size_t from, to;
        fe_columns(a, part, parts, &from, &to);
        if (from < to)
            fe_add_owned(a, FE_ALL, from, to);
    }
}

/* --- Sums: a stable radix sort, least significant digit first, each pass shared by parts -------- */

static inline void fe_count_part(void *state, ptrdiff_t part, ptrdiff_t parts)
{
    const fe_additions *a = state;
    const int done_bits = a->done_bits, bits = a->bits;
    const fe_entry *order = a->order;
    const uint64_t *rows = a->rows;
    ptrdiff_t *counts = a->counts + (part << bits), stop = fe_share(a->n, part + 1, parts);
    memset(counts, 0, sizeof *counts << bits);
    for (ptrdiff_t i = fe_share(a->n, part, parts); i < stop; ++i)
        ++counts[fe_digit(order ? order[i].row : rows[i], done_bits, bits)];
}

/* From counts to places: by digit, and for one digit by part. */
static inline void fe_place(fe_additions *a, ptrdiff_t parts)
{
    ptrdiff_t total = 0;
    for (ptrdiff_t digit = 0; digit < (ptrdiff_t)1 << a->bits; ++digit)
        for (ptrdiff_t part = 0; part < parts; ++part) {
            ptrdiff_t *start = a->counts + (part << a->bits) + digit, count = *start;
            *start = total;
            total += count;
        }
}

static inline void fe_order_part(void *state, ptrdiff_t part, ptrdiff_t parts)
{
    const fe_additions *a = state;
    const int done_bits = a->done_bits, bits = a->bits;
    const fe_entry *order = a->order;
    const uint64_t *rows = a->rows;
    fe_entry *to = a->spare[0];
    ptrdiff_t *next = a->counts + (part << bits), stop = fe_share(a->n, part + 1, parts);
    ptrdiff_t i = fe_share(a->n, part, parts), value = i / a->times, changes = (value + 1) * a->times;
    for (; i < stop; ++i) {
        if (i == changes) {
            ++value;
            changes += a->times;
        }
        fe_entry entry = order ? order[i] : (fe_entry){rows[i], (uint64_t)value};
        to[next[fe_digit(entry.row, done_bits, bits)]++] = entry;
    }
}

/* After a pass: its result is what the next one orders. */
static inline void fe_next_pass(fe_additions *a)
{
    fe_entry *free_now = a->order ? a->order : a->spare[1];
    a->order = a->spare[0];
    a->spare[0] = free_now;
    a->done_bits += a->bits;
}

/* How many rows begin in a share of the entries. */
static inline void fe_begin_part(void *state, ptrdiff_t part, ptrdiff_t parts)
{
    const fe_additions *a = state;
    ptrdiff_t stop = fe_share(a->n, part + 1, parts), count = 0;
    for (ptrdiff_t i = fe_share(a->n, part, parts); i < stop; ++i)
        count += i == 0 || a->order[i].row != a->order[i - 1].row;
    a->begun[part] = count;
}

/* From how many begin in each part to how many begin before it; returns how many there are. */
static inline ptrdiff_t fe_number_rows(fe_additions *a, ptrdiff_t parts)
{
    ptrdiff_t total = 0;
    for (ptrdiff_t part = 0; part < parts; ++part) {
        ptrdiff_t count = a->begun[part];
        a->begun[part] = total;
        total += count;
    }
    return a->begun[parts] = total;
}

/* Sum columns of the values of the entries [i, stop); the row of the first begins there, and is number
 * `row`. */
static inline void fe_sum_entries(const fe_additions *a, ptrdiff_t i, ptrdiff_t stop, ptrdiff_t row,
                                  size_t from, size_t to)
{
    enum { BLOCK = 512 };
    uint64_t numbers[BLOCK], positions[BLOCK];
    const fe_entry *entries = a->order;
    uint64_t last = entries[i].row, begun = UINT64_MAX;
    for (ptrdiff_t n; i < stop; i += n) {
        n = stop - i < BLOCK ? stop - i : BLOCK;
        for (ptrdiff_t j = 0; j < n; ++j) {
            row += entries[i + j].row != last;
            last = entries[i + j].row;
            numbers[j] = row;
            positions[j] = entries[i + j].position;
            if (from == 0)
                a->indices[row] = last;
        }
        fe_add_columns(a, numbers, positions, n, from, to, begun == numbers[0]);
        begun = numbers[n - 1];
    }
}

/* The last entry of the row that entry i belongs to, in the direction of `step` (1 or -1): strides that
 * double, then halve. */
static inline ptrdiff_t fe_end_of_row(const fe_additions *a, ptrdiff_t i, ptrdiff_t step)
{
    ptrdiff_t room = step > 0 ? a->n - 1 - i : i, inside = 0, stride = 1;
    while (inside + stride <= room && a->order[i + step * (inside + stride)].row == a->order[i].row) {
        inside += stride;
        stride *= 2;
    }
    for (; stride; stride /= 2)
        if (inside + stride <= room && a->order[i + step * (inside + stride)].row == a->order[i].row)
            inside += stride;
    return i + step * inside;
}

/* Leave out the entries whose ids have no row (outside.h): they come last. */
static inline void fe_leave_out(fe_additions *a)
{
    if (a->n && a->order[a->n - 1].row == a->table_rows)
        a->n = fe_end_of_row(a, a->n - 1, -1);
}

/* Which part i is in. */
static inline ptrdiff_t fe_part_of(ptrdiff_t i, ptrdiff_t n, ptrdiff_t parts)
{
    ptrdiff_t each = n / parts, rest = n % parts, longer = rest * (each + 1);
    return i < longer ? i / (each + 1) : rest + (i - longer) / each;
}

/* This part's columns of the row that entry i belongs to, which reaches into several parts and is number
 * `row`. Not in more pieces than there are threads: a piece reads all of the row's values. */
static inline void fe_sum_long_row(const fe_additions *a, ptrdiff_t i, ptrdiff_t row, ptrdiff_t part,
                                   ptrdiff_t parts)
{
    ptrdiff_t first = fe_end_of_row(a, i, -1), last = fe_end_of_row(a, i, 1);
    ptrdiff_t begins = fe_part_of(first, a->n, parts), pieces = fe_part_of(last, a->n, parts) - begins + 1;
    pieces = pieces < a->threads ? pieces : a->threads;
    if (part - begins < pieces) {
        size_t from, to;
        fe_columns(a, part - begins, pieces, &from, &to);
        if (from < to || part == begins) /* rows without columns have a number all the same */
            fe_sum_entries(a, first, last + 1, row, from, to);
    }
}

/* Sum a share of the entries: whole rows, and columns of those that reach beyond it. */
static inline void fe_sum_part(void *state, ptrdiff_t part, ptrdiff_t parts)
{
    const fe_additions *a = state;
    const fe_entry *order = a->order;
    ptrdiff_t i = fe_share(a->n, part, parts), stop = fe_share(a->n, part + 1, parts);
    if (i > 0 && order[i - 1].row == order[i].row) {
        fe_sum_long_row(a, i, a->begun[part] - 1, part, parts);
        i = fe_end_of_row(a, i, 1) + 1;
    }
    if (i < stop && stop < a->n && order[stop - 1].row == order[stop].row) {
        fe_sum_long_row(a, stop, a->begun[part + 1] - 1, part, parts);
        stop = fe_end_of_row(a, stop, -1);
    }
    if (i < stop)
        fe_sum_entries(a, i, stop, a->begun[part], 0, a->row_bytes);
}
