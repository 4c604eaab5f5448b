/* Who works on a call: the thread that makes it, and one team in the process that helps. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#ifdef _OPENMP
  #include <omp.h>
  #define FE_OPENMP 1
#else
  #define FE_OPENMP 0
  static inline int omp_get_max_threads(void) { return 1; }
#endif

/* Parts of one job are numbered from 0 and never touch the same output. */
typedef void (*fe_job)(void *state, ptrdiff_t part, ptrdiff_t parts);
enum { FE_MOST_PARTS = 0xffff };

/* Where the given one of nearly equal parts of n begins. */
static inline ptrdiff_t fe_share(ptrdiff_t n, ptrdiff_t part, ptrdiff_t parts)
{
    ptrdiff_t rest = n % parts;
    return n / parts * part + (part < rest ? part : rest);
}

/* Do parts of the job of this number until none is left; nothing if another is open by now. For the team. */
void fe_help(uint32_t number);

/* Whether there is help to be had at the moment: no other thread has the team, and it is awake or the job
 * is worth waking it. */
int fe_may_help(int worth_waking);

/* Do all parts on this thread, with the help of up to `threads` - 1 others. Returns when all are done, or
 * 0 at once, with nothing done, where another thread has the team. At most FE_MOST_PARTS parts. */
int fe_try_run(fe_job job, void *state, ptrdiff_t parts, int threads);

/* How many threads the last call from this thread was given. */
void fe_note_team(int threads);
int fe_last_team(void);

/* Call once. `bring(n, number)` has n threads call fe_help(number), and returns when they have. 0 if all is
 * well. */
int fe_open_team(void (*bring)(int n, uint32_t number));

/* A clock that only goes forward. */
static inline int64_t fe_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * (int64_t)1000000000 + t.tv_nsec;
}
