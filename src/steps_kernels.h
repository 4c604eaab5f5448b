/* The kernels of steps.h, compiled once per instruction set (isa.h), for both types of numbers. */

#include <float.h>
#include <math.h>
#include <string.h>

#include "rows.h"
#include "steps.h"

enum {
    ROWS_AHEAD = 6,    /* are fetched while one is moved: rows, slots ... */
    LAST_AHEAD = 12,   /* ... and, before, the step that moved them last */
    LANES = 16,        /* sums of squares are added up in: the same order for every instruction set */
    CHUNK = 64,        /* numbers of a row whose sums are formed at a time */
    ZEROS = 1024,      /* numbers without a gradient that are moved at a time */
};

/* What one row is owed. */
typedef struct {
    int32_t last;                   /* step that moved it */
    int32_t idle;                   /* steps since; 0: nothing is owed */
    double kept;                    /* 1 - decay of the step that follows */
    double growth;                  /* what decay has made of it, minus 1 */
    double terms[FE_MOST_TERMS];    /* N_j */
    double fades[FE_MOST_SLOTS];    /* of its slots */
    int is_walked;                  /* Nadam: the sum would not converge soon; step by step */
    /* Lion */
    double moved;
    double least;
} fe_debt;

static inline const double *past_of(const fe_steps *steps, int32_t step)
{
    return steps->past + (size_t)step * steps->width;
}

/* What rows that were decayed from one step (after it) to another are multiplied with, minus 1. */
static inline double growth_between(const fe_steps *steps, int32_t from, int32_t to)
{
    if (!steps->decays)
        return 0;
    return expm1(past_of(steps, to)[FE_LOG_KEPT] - past_of(steps, from)[FE_LOG_KEPT]);
}

/* What slot i is multiplied with in so many idle steps. The slots that move rows are not needed beyond the
 * window, and count as zero there. */
static inline double fade_of(const fe_steps *steps, int i, int32_t idle)
{
    if (!steps->fades[i])
        return 1;
    if (idle <= steps->window)
        return steps->fades[i][idle];
    return steps->log_fades[i] > -HUGE_VAL ? exp(idle * steps->log_fades[i]) : 0;
}

static inline double sum_lion(const fe_steps *steps, int32_t from, int32_t to)
{
    /* (Q_to - kept(from, to) Q_from), where Q is decayed like a row */
    double kept = 1 + growth_between(steps, from, to);
    return past_of(steps, to)[FE_MOVED] - kept * past_of(steps, from)[FE_MOVED];
}

/* What a row is owed; and with it, so that it is rounded once, what decay makes of it in the step that
 * follows. */
static void find_debt(const fe_steps *steps, uint64_t row, double decay, fe_debt *debt)
{
    const int32_t last = steps->last ? steps->last[row] : steps->now, idle = steps->now - last;
    debt->last = last;
    debt->idle = idle > 0 ? idle : 0; /* a lookup may meet rows of a step that it knows nothing of yet */
    if (idle <= 0)
        return;
    debt->kept = 1 - decay;
    debt->growth = growth_between(steps, last, steps->now);
    debt->growth -= decay * (1 + debt->growth);
    for (int i = 0; i < FE_MOST_SLOTS; ++i)
        debt->fades[i] = fade_of(steps, i, idle);
    if (steps->rule == FE_LION) {
        debt->moved = debt->kept * sum_lion(steps, last, steps->now);
        /* It moves in idle step k while |m| b2^(k-1) has a sign. */
        debt->least = steps->least * exp(-(idle - 1) * steps->log_fades[0]);
    }
    if (!steps->terms)
        return;
    const double *terms = past_of(steps, last) + FE_TERMS;
    double kept = debt->kept;
    if (idle > steps->window)
        kept *= 1 + growth_between(steps, last + steps->window, steps->now);
    for (int j = 0; j < steps->terms; ++j)
        debt->terms[j] = terms[j] * kept;
    debt->is_walked = steps->rule == FE_NADAM && past_of(steps, last)[FE_CORRECTED] < steps->constants[3];
}

#define number float
#define FE_NUMBER(name) name##_float32
#define FE_SQRT sqrtf
#define FE_FABS fabsf
#define FE_POW powf
#define FE_TINY FLT_MIN
#include "steps_numbers.h"
#undef number
#undef FE_NUMBER
#undef FE_SQRT
#undef FE_FABS
#undef FE_POW
#undef FE_TINY

#define number double
#define FE_NUMBER(name) name##_float64
#define FE_SQRT sqrt
#define FE_FABS fabs
#define FE_POW pow
#define FE_TINY DBL_MIN
#include "steps_numbers.h"
#undef number
#undef FE_NUMBER
#undef FE_SQRT
#undef FE_FABS
#undef FE_POW
#undef FE_TINY

const fe_step_kernels FE_PASTE(fe_float32_steps, FE_ISA) = {
    move_rows_float32,
    move_run_float32,
    measure_run_float32,
    finish_rows_float32,
};

const fe_step_kernels FE_PASTE(fe_float64_steps, FE_ISA) = {
    move_rows_float64,
    move_run_float64,
    measure_run_float64,
    finish_rows_float64,
};
