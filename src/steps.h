/* What an optimizer does to rows: the rules, and what rows are owed that had no gradient for some steps.
 *
 * A rule moves the numbers of a table and of its slots by a gradient. Keras moves every row at every step,
 * also those whose gradient is zero. Here a row without a gradient is left alone; `last` knows the step that
 * it was moved by last, and what it has missed since is added when somebody looks at it. That is possible
 * because without a gradient slots only fade by constants. With s the row's last step, k = 1 ... T - s the
 * steps since, and the row's slots as they were at s, what a row is owed at T is, number by number,
 *
 *     m q (N_0 + N_1 y + N_2 y^2 + ...),   N_j(s, T) = sum over k of alpha_{s+k} fade^k a_k^j
 *
 * where the step after k idle ones divides m by a denominator that is 1 - a_k y times what it was: for Adam q
 * = 1 / (sqrt(v) + eps), y = sqrt(v) q and a_k = 1 - b2^(k/2), because
 *
 *     sqrt(v b2^k) + eps = (sqrt(v) + eps) (1 - y (1 - b2^(k/2))),
 *
 * and 1 / (1 - a y) is the sum of (a y)^j. All terms have one sign. Rules that divide by nothing, or by what
 * does not fade, have N_0 alone. Where rows are decayed (w -= w decay) before each step, N_j is decayed with
 * them.
 *
 * `past` holds the N_j of each past step and is brought forward at each step (_steps.pyx); after `window`
 * steps the slot that moves a row has faded to less than 2^-60 and counts as zero. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "isa.h"

enum {
    FE_SGD,
    FE_MOMENTUM,
    FE_NESTEROV,
    FE_RMSPROP,
    FE_RMSPROP_CENTERED,
    FE_RMSPROP_MOMENTUM,
    FE_RMSPROP_CENTERED_MOMENTUM,
    FE_ADAGRAD,
    FE_ROWWISE_ADAGRAD,
    FE_ADADELTA,
    FE_ADAM,
    FE_AMSGRAD,
    FE_ADAMAX,
    FE_NADAM,
    FE_FTRL,
    FE_LION,
    FE_LAMB,
    FE_RULES
};

enum { FE_MOST_SLOTS = 3, FE_MOST_TERMS = 16, FE_MOST_CONSTANTS = 5, FE_MOST_NUMBERS = 3 };

/* Columns of `past`, for each step t since the rows were last all up to date. */
enum {
    FE_LOG_KEPT, /* sum of log(1 - decay) of the steps up to t */
    FE_MOVED,    /* Lion: what a number has moved by that went one way in all of them; Nadam: alpha_t */
    FE_CORRECTED, /* Nadam: sqrt(1 - b2^t) */
    FE_TERMS      /* N_0(t, now), N_1(t, now), ... */
};

typedef struct {
    int rule;
    /* The numbers that learn and their slots: rows of `dim` numbers, `row_bytes` apart. (Of row-wise
     * Adagrad's slot a row is one number.) */
    char *rows;
    char *slots[FE_MOST_SLOTS];
    ptrdiff_t n_rows;
    ptrdiff_t dim;
    size_t row_bytes;
    /* The rule's constants and the step's numbers, in the order of _steps.pyx; what a row is multiplied with
     * and loses before the step; whether numbers below zero become zero after it. */
    double constants[FE_MOST_CONSTANTS];
    double numbers[FE_MOST_NUMBERS];
    double decay;
    int is_nonneg;
    /* What rows are owed. */
    int32_t *last; /* for each row the step that moved it last; NULL: nothing is owed to any */
    int32_t now;   /* steps made, as far as `past` knows */
    const double *past;
    int width; /* numbers of `past` a step */
    int terms; /* of the sum; 0: rows without a gradient are not moved */
    int32_t window;
    int decays; /* whether rows have been decayed at all */
    /* fades[i][k]: what slot i is multiplied with in k <= window idle steps; NULL: it does not fade. */
    const double *fades[FE_MOST_SLOTS];
    double log_fades[FE_MOST_SLOTS];
    double least;     /* Lion: a slot below it moves no row, because b1 times it is no normal number */
    double last_rate; /* Ftrl: the learning rate of the last step, which all its rows follow */
} fe_steps;

/* One step for the given rows, each of them once: what they are owed first. Only the bytes from `from` to
 * `to` of each row are moved; the gradients of these bytes lie `stride` apart. `marks`: the step is then
 * their last. */
typedef void (*fe_move_rows)(const fe_steps *steps, const uint64_t *rows, ptrdiff_t n, const char *gradients,
                             size_t stride, size_t from, size_t to, int marks);

/* One step for the bytes from `from` to `to` of all rows together, to which nothing is owed; NULL: the
 * gradient is zero. Not for row-wise Adagrad and LAMB. */
typedef void (*fe_move_run)(const fe_steps *steps, size_t from, size_t to, const char *gradient);

/* LAMB, before and after the norms are known: slots, and the sums of squares of rows and directions; then
 * rows, with numbers[0] times the ratio of the norms. */
typedef void (*fe_measure_run)(const fe_steps *steps, size_t from, size_t to, const char *gradient,
                               double *squares);

/* The rows (which == -1) or those of a slot as they are when nothing is owed to them, at out + i * row_bytes.
 */
typedef void (*fe_finish_rows)(const fe_steps *steps, int which, char *out, const uint64_t *rows,
                               ptrdiff_t n);

typedef struct {
    fe_move_rows move_rows;
    fe_move_run move_run;
    fe_measure_run measure_run;
    fe_finish_rows finish_rows;
} fe_step_kernels;

extern const fe_step_kernels fe_float32_steps_baseline, fe_float64_steps_baseline;
#if defined(__x86_64__)
extern const fe_step_kernels fe_float32_steps_avx2, fe_float64_steps_avx2;
extern const fe_step_kernels fe_float32_steps_avx512, fe_float64_steps_avx512;
#endif

/* The copy for an instruction set (isa.h). */
static inline const fe_step_kernels *fe_steps_for(int isa, int is_double)
{
#if defined(__x86_64__)
    if (isa == FE_AVX512)
        return is_double ? &fe_float64_steps_avx512 : &fe_float32_steps_avx512;
    if (isa == FE_AVX2)
        return is_double ? &fe_float64_steps_avx2 : &fe_float32_steps_avx2;
#endif
    (void)isa;
    return is_double ? &fe_float64_steps_baseline : &fe_float32_steps_baseline;
}
