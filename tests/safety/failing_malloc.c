/* malloc that fails when it is told to: preloaded by test_no_memory.py, with PYTHONMALLOC=malloc.
 *
 * fail_after(n, times): on this thread, the n-th allocation from now on fails (n = 1 is the next one), and so do the
 * `times` - 1 after it. fail_after(0, 0) ends that. Returns how many have failed since the last time. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

/* glibc's own, under names that nobody replaces. */
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static __thread long until, times, failed;

long fail_after(long n, long how_often)
{
    long before = failed;
    until = n;
    times = how_often;
    failed = 0;
    return before;
}

static int fails(void)
{
    if (until > 1)
        --until;
    else if (until == 1 && times > 0) {
        --times;
        ++failed;
        errno = ENOMEM;
        return 1;
    }
    return 0;
}

void *malloc(size_t n) { return fails() ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return fails() ? NULL : __libc_calloc(n, size); }
void *realloc(void *block, size_t n) { return fails() ? NULL : __libc_realloc(block, n); }
int posix_memalign(void **block, size_t alignment, size_t n)
{
    void *got = fails() ? NULL : __libc_memalign(alignment, n);
    if (got)
        *block = got;
    return got ? 0 : ENOMEM;
}
