/* What OpenMP and fork need beyond Cython: no-ops where the build has no OpenMP. */
#pragma once

#ifdef _OPENMP
  #include <omp.h>
  #include <pthread.h>
  #define FE_OPENMP 1
#else
  #define FE_OPENMP 0
  static inline int omp_get_num_threads(void) { return 1; }
  static inline int omp_get_thread_num(void) { return 0; }
#endif

/* The size of the team that this thread's last fe_run used; what the tests assert. */
static _Thread_local int fe_last_team = 1;

/* Set in the child of a fork whose forking thread had a team that could not be released: the
 * workers are gone but the OpenMP runtime would wait for them, so this thread runs alone. */
static _Thread_local int fe_team_lost = 0;

#if FE_OPENMP
static _Thread_local int fe_has_team = 0;

/* OpenMP 5.0, so absent from older runtimes: taken weakly. */
extern int omp_pause_resource_all(omp_pause_resource_t) __attribute__((weak));

/* libgomp keeps idle workers for every thread that ran a parallel region. They do not exist in a
 * forked child, whose first region would wait for them for ever. Released before the fork, both
 * sides make new ones when they next need them. Also for a team that another library's region left
 * behind in this runtime: hence not only when fe_has_team. */
static void fe_before_fork(void)
{
    if (omp_pause_resource_all && omp_pause_resource_all(omp_pause_soft) == 0)
        fe_has_team = 0;
}

static void fe_in_child(void)
{
    fe_team_lost = fe_has_team;
}

static inline int fe_watch_forks(void) { return pthread_atfork(fe_before_fork, NULL, fe_in_child); }
static inline void fe_note_team(int size)
{
    fe_last_team = size;
    fe_has_team |= size > 1;
}
#else
static inline int fe_watch_forks(void) { return 0; }
static inline void fe_note_team(int size) { fe_last_team = size; }
#endif
