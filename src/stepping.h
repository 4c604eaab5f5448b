/* Who moves which rows: the jobs of an optimizer's step, for a team (team.h). */
#pragma once

#include "additions.h"
#include "steps.h"

enum {
    FE_SUMS_BYTES = 32 * 1024, /* sums of gradients that are formed before their rows are moved: half of the
                                  first-level cache, where they still are then */
    FE_MOST_SUMS = 256,
    FE_NORM_BYTES = 16 * 1024, /* of a table, whose squares are one number of the sum for a norm */
};

typedef struct {
    const fe_steps *steps;
    const fe_step_kernels *kernels;
    /* A gradient of some rows: their ids, copied and checked, and their values; or of all (NULL: zero). */
    const fe_additions *given;
    const uint64_t *rows; /* ascending, each once; NULL: they are to be sorted and summed, by given->order */
    ptrdiff_t n;
    const char *values;
    char *sums; /* for each part fe_sums_bytes() */
    /* All rows as they are when nothing is owed: a copy, or (NULL) they themselves with their slots. */
    int which;
    char *out;
    double *squares; /* LAMB */
} fe_stepping;

/* --- Rows that a gradient names ------------------------------------------------------------------- */

static void fe_step_unique_part(void *state, ptrdiff_t part, ptrdiff_t parts)
{
    const fe_stepping *job = state;
    const ptrdiff_t i = fe_share(job->n, part, parts), stop = fe_share(job->n, part + 1, parts);
    const size_t nbytes = job->steps->row_bytes;
    job->kernels->move_rows(job->steps, job->rows + i, stop - i, job->values + i * nbytes, nbytes, 0, nbytes,
                            1);
}

static inline ptrdiff_t fe_sums_at_once(size_t row_bytes)
{
    ptrdiff_t rows = row_bytes ? (ptrdiff_t)(FE_SUMS_BYTES / row_bytes) : FE_MOST_SUMS;
    return rows < 1 ? 1 : rows < FE_MOST_SUMS ? rows : FE_MOST_SUMS;
}

/* Memory for the sums of one part, in whole cache lines. */
static inline size_t fe_sums_bytes(size_t row_bytes)
{
    return (fe_sums_at_once(row_bytes) * row_bytes + FE_LINE - 1) / FE_LINE * FE_LINE;
}

/* Sum the values of the entries [i, stop), which are whole rows, and move these rows by the sums: the bytes
 * from `from` to `to` of each. */
static void fe_step_entries(const fe_stepping *job, ptrdiff_t i, ptrdiff_t stop, size_t from, size_t to,
                            char *sums, int marks)
{
    enum { BLOCK = 512 };
    uint64_t numbers[BLOCK], positions[BLOCK], rows[FE_MOST_SUMS];
    const fe_additions *given = job->given;
    const fe_entry *entries = given->order;
    const size_t row_bytes = given->row_bytes;
    const ptrdiff_t most = fe_sums_at_once(row_bytes), dim = (ptrdiff_t)(to - from) / given->itemsize;
    ptrdiff_t count = 0; /* rows begun; between blocks 0, or 1 that goes on */
    while (i < stop) {
        const int goes_on = (int)count;
        ptrdiff_t n = 0;
        for (; n < BLOCK && i + n < stop; ++n) {
            const uint64_t row = entries[i + n].row;
            if (count == 0 || rows[count - 1] != row) {
                if (count == most)
                    break;
                rows[count++] = row;
            }
            numbers[n] = count - 1;
            positions[n] = entries[i + n].position;
        }
        given->add(sums, given->values + from, dim, row_bytes, numbers, positions, n, given->ahead, goes_on);
        i += n;
        const ptrdiff_t whole = i < stop && entries[i].row == rows[count - 1] ? count - 1 : count;
        job->kernels->move_rows(job->steps, rows, whole, sums, row_bytes, from, to, marks);
        if (whole && whole < count) {
            memcpy(sums, sums + whole * row_bytes, to - from);
            rows[0] = rows[whole];
        }
        count -= whole;
    }
}

/* This part's columns of the row that entry i belongs to, which reaches into several parts: as
 * fe_sum_long_row. */
static void fe_step_long_row(const fe_stepping *job, ptrdiff_t i, ptrdiff_t part, ptrdiff_t parts, char *sums)
{
    const fe_additions *given = job->given;
    ptrdiff_t first = fe_end_of_row(given, i, -1), last = fe_end_of_row(given, i, 1);
    ptrdiff_t begins = fe_part_of(first, given->n, parts);
    ptrdiff_t pieces = fe_part_of(last, given->n, parts) - begins + 1;
    pieces = pieces < given->threads ? pieces : given->threads;
    if (part - begins < pieces) {
        size_t from, to;
        fe_columns(given, part - begins, pieces, &from, &to);
        if (from < to) /* not marked: the other parts still have to see what the row is owed */
            fe_step_entries(job, first, last + 1, from, to, sums, 0);
    }
}

static void fe_step_part(void *state, ptrdiff_t part, ptrdiff_t parts)
{
    const fe_stepping *job = state;
    const fe_additions *given = job->given;
    const fe_entry *order = given->order;
    char *sums = job->sums + part * fe_sums_bytes(given->row_bytes);
    ptrdiff_t i = fe_share(given->n, part, parts), stop = fe_share(given->n, part + 1, parts);
    if (i > 0 && i < stop && order[i - 1].row == order[i].row) {
        fe_step_long_row(job, i, part, parts, sums);
        i = fe_end_of_row(given, i, 1) + 1;
    }
    if (i < stop && stop < given->n && order[stop - 1].row == order[stop].row) {
        fe_step_long_row(job, stop, part, parts, sums);
        stop = fe_end_of_row(given, stop, -1);
    }
    if (i < stop)
        fe_step_entries(job, i, stop, 0, given->row_bytes, sums, 1);
}

/* Mark the rows that reached into several parts. */
static void fe_mark_long_rows(const fe_stepping *job, ptrdiff_t parts)
{
    const fe_additions *given = job->given;
    for (ptrdiff_t part = 1; part < parts; ++part) {
        const ptrdiff_t i = fe_share(given->n, part, parts);
        if (0 < i && i < given->n && given->order[i - 1].row == given->order[i].row)
            job->steps->last[given->order[i].row] = job->steps->now + 1;
    }
}

/* --- All rows ------------------------------------------------------------------------------------- */

/* The bytes of all rows together that the given part covers, in whole cache lines. */
static inline void fe_run_of(const fe_steps *steps, ptrdiff_t part, ptrdiff_t parts, size_t *from, size_t *to)
{
    const size_t nbytes = steps->n_rows * steps->row_bytes;
    const ptrdiff_t lines = (ptrdiff_t)((nbytes + FE_LINE - 1) / FE_LINE);
    *from = FE_LINE * fe_share(lines, part, parts);
    *to = FE_LINE * fe_share(lines, part + 1, parts);
    *from = *from < nbytes ? *from : nbytes;
    *to = *to < nbytes ? *to : nbytes;
}

/* A gradient of all rows, to which nothing is owed. */
static void fe_step_run_part(void *state, ptrdiff_t part, ptrdiff_t parts)
{
    const fe_stepping *job = state;
    size_t from, to;
    fe_run_of(job->steps, part, parts, &from, &to);
    if (from < to)
        job->kernels->move_run(job->steps, from, to, job->values ? job->values + from : NULL);
}

/* A gradient of all rows, row by row: some are owed something, or have a slot of one number. */
static void fe_step_each_part(void *state, ptrdiff_t part, ptrdiff_t parts)
{
    enum { BLOCK = 256 };
    const fe_stepping *job = state;
    const size_t nbytes = job->steps->row_bytes;
    ptrdiff_t i = fe_share(job->steps->n_rows, part, parts);
    const ptrdiff_t stop = fe_share(job->steps->n_rows, part + 1, parts);
    uint64_t rows[BLOCK];
    for (ptrdiff_t n; i < stop; i += n) {
        n = stop - i < BLOCK ? stop - i : BLOCK;
        for (ptrdiff_t j = 0; j < n; ++j)
            rows[j] = i + j;
        job->kernels->move_rows(job->steps, rows, n, job->values + i * nbytes, nbytes, 0, nbytes, 1);
    }
}

/* A gradient of some rows, by which all are moved; nothing is owed to any. */
static void fe_step_all_part(void *state, ptrdiff_t part, ptrdiff_t parts)
{
    const fe_stepping *job = state;
    const size_t nbytes = job->steps->row_bytes;
    const uint64_t start = fe_share(job->steps->n_rows, part, parts);
    const uint64_t stop = fe_share(job->steps->n_rows, part + 1, parts);
    ptrdiff_t i = 0, rest = job->n;
    while (rest > 0) { /* the first row that is not before this part */
        const ptrdiff_t half = rest / 2;
        if (job->rows[i + half] < start) {
            i += half + 1;
            rest -= half + 1;
        } else
            rest = half;
    }
    for (uint64_t row = start; row < stop;) {
        const uint64_t next = i < job->n && job->rows[i] < stop ? job->rows[i] : stop;
        if (row < next)
            job->kernels->move_run(job->steps, row * nbytes, next * nbytes, NULL);
        if (next < stop)
            job->kernels->move_run(job->steps, next * nbytes, (next + 1) * nbytes,
                                   job->values + i++ * nbytes);
        row = next + 1;
    }
}

/* LAMB's slots, and the squares for its norms, in runs that do not depend on the number of parts. */
static void fe_measure_part(void *state, ptrdiff_t part, ptrdiff_t parts)
{
    const fe_stepping *job = state;
    const size_t nbytes = job->steps->n_rows * job->steps->row_bytes;
    const ptrdiff_t runs = (ptrdiff_t)((nbytes + FE_NORM_BYTES - 1) / FE_NORM_BYTES);
    const ptrdiff_t stop = fe_share(runs, part + 1, parts);
    for (ptrdiff_t run = fe_share(runs, part, parts); run < stop; ++run) {
        const size_t from = run * (size_t)FE_NORM_BYTES;
        const size_t to = from + FE_NORM_BYTES < nbytes ? from + FE_NORM_BYTES : nbytes;
        job->kernels->measure_run(job->steps, from, to, job->values ? job->values + from : NULL,
                                  job->squares + 2 * run);
    }
}

/* --- What is owed --------------------------------------------------------------------------------- */

static void fe_finish_part(void *state, ptrdiff_t part, ptrdiff_t parts)
{
    enum { BLOCK = 256 };
    const fe_stepping *job = state;
    ptrdiff_t i = fe_share(job->steps->n_rows, part, parts);
    const ptrdiff_t stop = fe_share(job->steps->n_rows, part + 1, parts);
    uint64_t rows[BLOCK];
    for (ptrdiff_t n; i < stop; i += n) {
        n = stop - i < BLOCK ? stop - i : BLOCK;
        for (ptrdiff_t j = 0; j < n; ++j)
            rows[j] = i + j;
        if (job->out)
            job->kernels->finish_rows(job->steps, job->which, job->out + i * job->steps->row_bytes, rows, n);
        else
            job->kernels->settle_rows(job->steps, rows, n);
    }
}

/* `fe_take` (rows.h) of a table that is owed moves. */
static void fe_take_finished(char *out, const struct fe_table *table, const uint64_t *block, ptrdiff_t n,
                             ptrdiff_t known)
{
    const fe_stepping *job = table->owed;
    (void)known;
    job->kernels->finish_rows(job->steps, -1, out, block, n);
}
