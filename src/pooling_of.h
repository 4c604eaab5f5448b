/* The pooling kernels of one type of numbers: FE_TYPE, with FE_COUNT an integer as wide and FE_OF(name) what a
 * function is called. Included by pooling_kernels.h for each type.
 *
 * Steps are taken several at a time, so that what is kept of a column is fetched and put back once for all of
 * them; within a column one follows the other. */

/* kept[j] += the numbers of column j in each of n rows. */
FE_TARGET FE_INLINE void FE_OF(add_rows)(double *restrict kept, const FE_TYPE *const *rows, ptrdiff_t n,
                                         ptrdiff_t columns)
{
    for (ptrdiff_t i = 0; i < n; ++i)
        for (ptrdiff_t j = 0; j < columns; ++j)
            kept[j] += rows[i][j];
}

FE_TARGET FE_INLINE void FE_OF(add_four)(double *restrict kept, const FE_TYPE *const *rows, ptrdiff_t columns)
{
    const FE_TYPE *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
    for (ptrdiff_t j = 0; j < columns; ++j)
        kept[j] = (((kept[j] + a[j]) + b[j]) + c[j]) + d[j];
}

FE_TARGET FE_INLINE void FE_OF(sum_piece)(const fe_pooling_job *job, fe_piece piece)
{
    const FE_TYPE *row = (const FE_TYPE *)job->inputs + piece.at_steps;
    FE_TYPE *restrict out = (FE_TYPE *)job->out + piece.at;
    double kept[FE_POOL_COLUMNS];
    const FE_TYPE *rows[4];
    ptrdiff_t n = 0, count = 0;
    for (ptrdiff_t j = 0; j < piece.columns; ++j)
        kept[j] = 0;
    for (ptrdiff_t s = 0; s < job->steps; ++s, row += job->features) {
        if (piece.mask && !piece.mask[s])
            continue;
        ++count;
        rows[n++] = row;
        if (n == 4) {
            FE_OF(add_four)(kept, rows, piece.columns);
            n = 0;
        }
    }
    FE_OF(add_rows)(kept, rows, n, piece.columns);
    const double divisor = job->is_mean ? (double)count : 1.0;
    for (ptrdiff_t j = 0; j < piece.columns; ++j)
        out[j] = (FE_TYPE)(kept[j] / divisor);
}

/* A NaN that is there stays. */
FE_TARGET FE_INLINE FE_TYPE FE_OF(larger)(FE_TYPE most, FE_TYPE x)
{
    return x > most || x != x ? x : most;
}

FE_TARGET FE_INLINE void FE_OF(max_piece)(const fe_pooling_job *job, fe_piece piece)
{
    const FE_TYPE *row = (const FE_TYPE *)job->inputs + piece.at_steps;
    FE_TYPE *restrict out = (FE_TYPE *)job->out + piece.at;
    memcpy(out, row, piece.columns * sizeof(FE_TYPE));
    ptrdiff_t s = 1;
    for (row += job->features; s + 4 <= job->steps; s += 4, row += 4 * job->features) {
        const FE_TYPE *a = row, *b = a + job->features, *c = b + job->features, *d = c + job->features;
        for (ptrdiff_t j = 0; j < piece.columns; ++j) {
            FE_TYPE most = FE_OF(larger)(FE_OF(larger)(out[j], a[j]), b[j]);
            out[j] = FE_OF(larger)(FE_OF(larger)(most, c[j]), d[j]);
        }
    }
    for (; s < job->steps; ++s, row += job->features)
        for (ptrdiff_t j = 0; j < piece.columns; ++j)
            out[j] = FE_OF(larger)(out[j], row[j]);
}

FE_TARGET FE_INLINE void FE_OF(spread_piece)(const fe_pooling_job *job, fe_piece piece)
{
    const FE_TYPE *upstream = (const FE_TYPE *)job->upstream + piece.at;
    FE_TYPE *out = (FE_TYPE *)job->out + piece.at_steps;
    FE_TYPE share[FE_POOL_COLUMNS];
    ptrdiff_t count = 0;
    for (ptrdiff_t s = 0; s < job->steps; ++s)
        count += !piece.mask || piece.mask[s];
    for (ptrdiff_t j = 0; j < piece.columns; ++j)
        share[j] = (FE_TYPE)(upstream[j] / (double)count);
    for (ptrdiff_t s = 0; s < job->steps; ++s, out += job->features)
        if (!piece.mask || piece.mask[s])
            memcpy(out, share, piece.columns * sizeof(FE_TYPE));
        else
            memset(out, 0, piece.columns * sizeof(FE_TYPE));
}

FE_TARGET FE_INLINE void FE_OF(spread_max_piece)(const fe_pooling_job *job, fe_piece piece)
{
    const FE_TYPE *inputs = (const FE_TYPE *)job->inputs + piece.at_steps, *row = inputs;
    const FE_TYPE *upstream = (const FE_TYPE *)job->upstream + piece.at;
    FE_TYPE *restrict out = (FE_TYPE *)job->out + piece.at_steps;
    FE_TYPE most[FE_POOL_COLUMNS], share[FE_POOL_COLUMNS], other[FE_POOL_COLUMNS];
    FE_COUNT winners[FE_POOL_COLUMNS];
    for (ptrdiff_t j = 0; j < piece.columns; ++j) {
        most[j] = row[j];
        winners[j] = 1;
    }
    for (ptrdiff_t s = 1; s < job->steps; ++s) {
        row += job->features;
        for (ptrdiff_t j = 0; j < piece.columns; ++j) {
            winners[j] = row[j] > most[j] ? 1 : winners[j] + (row[j] == most[j]);
            most[j] = FE_OF(larger)(most[j], row[j]);
        }
    }
    for (ptrdiff_t j = 0; j < piece.columns; ++j) {
        share[j] = (FE_TYPE)(upstream[j] / (double)winners[j]);
        other[j] = most[j] == most[j] ? 0 : most[j];
    }
    row = inputs;
    for (ptrdiff_t s = 0; s < job->steps; ++s, row += job->features, out += job->features)
        for (ptrdiff_t j = 0; j < piece.columns; ++j)
            out[j] = row[j] == most[j] ? share[j] : other[j];
}

FE_PIECES(FE_OF(sum), FE_OF(sum_piece))
FE_PIECES(FE_OF(max), FE_OF(max_piece))
FE_PIECES(FE_OF(spread), FE_OF(spread_piece))
FE_PIECES(FE_OF(spread_max), FE_OF(spread_max_piece))

#undef FE_TYPE
#undef FE_COUNT
#undef FE_OF
