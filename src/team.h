/* What OpenMP and fork need beyond Cython. */
#pragma once

#ifdef _OPENMP
  #include <omp.h>
  #define FE_OPENMP 1
#else
  #define FE_OPENMP 0
  static inline int omp_get_num_threads(void) { return 1; }
  static inline int omp_get_thread_num(void) { return 0; }
#endif

/* Say how many threads the region has that this thread just entered, or 1 where it entered none. */
void fe_note_team(int size);

/* The size that was last noted on this thread; what the tests assert. */
int fe_last_team(void);

/* Whether this thread lost its team in a fork and must run alone. */
int fe_team_lost(void);

/* Register the fork handlers; 0 if that worked. */
int fe_watch_forks(void);
