/* Aligned blocks; free() gives them back. */
#pragma once

#include <stdlib.h>
#if defined(__linux__)
  #include <sys/mman.h>
#endif

enum { FE_CACHE_LINE = 64, FE_HUGE_PAGE = 2 * 1024 * 1024 };

/* nbytes of memory, or NULL. Blocks of at least one huge page start on one and ask for them. */
static inline void *fe_allocate(size_t nbytes)
{
    void *block = NULL;
    size_t alignment = nbytes >= FE_HUGE_PAGE ? FE_HUGE_PAGE : FE_CACHE_LINE;
    if (posix_memalign(&block, alignment, nbytes ? nbytes : 1) != 0)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (nbytes >= FE_HUGE_PAGE)
        madvise(block, nbytes, MADV_HUGEPAGE); /* a wish: a kernel without huge pages says no */
#endif
    return block;
}

/* Let the system take the block's whole huge pages when it needs memory. Until then they stay, and
 * writing to them costs nothing; what they held is of no interest to anybody. */
static inline void fe_offer_back(void *block, size_t nbytes)
{
#ifdef MADV_FREE
    if (nbytes >= FE_HUGE_PAGE)
        madvise(block, nbytes & ~(size_t)(FE_HUGE_PAGE - 1), MADV_FREE);
#else
    (void)block;
    (void)nbytes;
#endif
}
