/* The pooling kernels, compiled once per instruction set (isa.h). */

#include "pooling.h"

/* A piece of work, and where it begins in the arrays. */
typedef struct {
    ptrdiff_t columns;
    ptrdiff_t at;       /* in (batch, features) */
    ptrdiff_t at_steps; /* in (batch, steps, features) */
    const uint8_t *mask;
} fe_piece;

FE_TARGET FE_INLINE fe_piece piece_of(const fe_pooling_job *job, ptrdiff_t number, ptrdiff_t in_example)
{
    const ptrdiff_t example = number / in_example, column = number % in_example * job->columns;
    const ptrdiff_t left = job->features - column;
    fe_piece piece = {
        left < job->columns ? left : job->columns,
        example * job->features + column,
        example * job->steps * job->features + column,
        job->mask ? job->mask + example * job->steps : NULL,
    };
    return piece;
}

/* A job of `one`(job, piece) for each piece; the first parts are a piece larger. */
#define FE_PIECES(name, one)                                                                      \
    FE_TARGET static void name(void *state, ptrdiff_t part, ptrdiff_t parts)                      \
    {                                                                                             \
        const fe_pooling_job *job = state;                                                        \
        const ptrdiff_t in_example = (job->features + job->columns - 1) / job->columns;           \
        const ptrdiff_t pieces = job->batch * in_example, larger = pieces % parts;                \
        ptrdiff_t number = pieces / parts * part + (part < larger ? part : larger);               \
        const ptrdiff_t end = number + pieces / parts + (part < larger);                          \
        for (; number < end; ++number)                                                            \
            one(job, piece_of(job, number, in_example));                                          \
    }

#define FE_TYPE float
#define FE_COUNT uint32_t
#define FE_OF(name) name##_float32
#include "pooling_of.h"

#define FE_TYPE double
#define FE_COUNT uint64_t
#define FE_OF(name) name##_float64
#include "pooling_of.h"

const fe_pooling FE_PASTE(fe_pooling, FE_ISA) = {
    FE_TEXT(FE_ISA), sum_float32, sum_float64, max_float32, max_float64, spread_float32,
    spread_float64, spread_max_float32, spread_max_float64,
};
