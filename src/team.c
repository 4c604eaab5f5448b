/* Teams and fork.
 *
 * libgomp keeps idle workers for every thread that ran a parallel region. They do not exist in a
 * forked child, whose first region would wait for them for ever. Released before the fork, both
 * sides make new ones when they next need them. Where the runtime cannot release them, the child's
 * forking thread (its only one) runs alone.
 */
#include <pthread.h>
#include <stddef.h>

#include "team.h"

static _Thread_local int last_team = 1;
static _Thread_local int has_team = 0;
static _Thread_local int team_lost = 0;

void fe_note_team(int size)
{
    last_team = size;
    has_team |= size > 1;
}

int fe_last_team(void) { return last_team; }
int fe_team_lost(void) { return team_lost; }

#if FE_OPENMP && _OPENMP >= 201511 && (!defined(__GNUC__) || defined(__clang__) || __GNUC__ >= 9)
  /* OpenMP 5.0. libgomp has it since gcc 9; taken weakly, for an older runtime where this one runs. */
  extern int omp_pause_resource_all(omp_pause_resource_t) __attribute__((weak));
  #define release_teams() (omp_pause_resource_all && omp_pause_resource_all(omp_pause_soft) == 0)
#else
  #define release_teams() 0
#endif

/* Also for a team that another library's region left in this runtime: hence not only when has_team. */
static void before_fork(void)
{
    if (release_teams())
        has_team = 0;
}

static void in_child(void) { team_lost = has_team; }

int fe_watch_forks(void) { return pthread_atfork(before_fork, NULL, in_child); }
