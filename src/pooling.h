/* Sums, means and maxima over the steps of (batch, steps, features), and their gradients: the kernels
 * (pooling_kernels.h), compiled once per instruction set (isa.h).
 *
 * All arrays are C-contiguous. A job is cut into pieces: up to `columns` features of one example, of which no
 * two pieces share a number. A number's steps are taken in their order, whatever the pieces are, so that the
 * bits depend neither on them nor on the threads. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "isa.h"

enum { FE_POOL_COLUMNS = 512 }; /* the most features of a piece: what is kept of them lies on the stack */

typedef struct {
    const char *inputs;   /* (batch, steps, features) */
    const char *upstream; /* (batch, features) */
    const uint8_t *mask;  /* (batch, steps): zero where a step does not count; NULL: all do */
    char *out;
    ptrdiff_t batch, steps, features;
    ptrdiff_t columns; /* from 1 to FE_POOL_COLUMNS */
    int is_mean;       /* of sums: divided by the number of steps that count */
} fe_pooling_job;

/* Some pieces of a job (team.h). */
typedef void (*fe_pool)(void *job, ptrdiff_t part, ptrdiff_t parts);

typedef struct {
    const char *name;
    /* Out of inputs (batch, steps, features) into out (batch, features): sums are made in double and rounded
     * once, steps without a place in the mask are not read; a maximum is NaN where one of its steps is. */
    fe_pool sum_float32, sum_float64, max_float32, max_float64;
    /* Out of upstream into out (batch, steps, features): to each step that counts its share, to others 0. */
    fe_pool spread_float32, spread_float64;
    /* The same to the steps of inputs that hold the maximum, in equal shares; NaN to all where it is NaN. */
    fe_pool spread_max_float32, spread_max_float64;
} fe_pooling;

extern const fe_pooling fe_pooling_baseline;
#if defined(__x86_64__)
extern const fe_pooling fe_pooling_avx2, fe_pooling_avx512;
#endif

/* The copy for an instruction set (isa.h). */
static inline const fe_pooling *fe_pooling_for(int isa)
{
#if defined(__x86_64__)
    if (isa == FE_AVX512)
        return &fe_pooling_avx512;
    if (isa == FE_AVX2)
        return &fe_pooling_avx2;
#endif
    (void)isa;
    return &fe_pooling_baseline;
}
