/* Which instruction set's copy of the kernels runs, and what is needed to make such copies.
 *
 * A family of kernels is a header that tiny files compile, one per instruction set: each includes isa_<set>.h,
 * which defines FE_ISA (a suffix) and FE_TARGET (the functions' target attribute), and then the header. Nothing
 * else in the project knows about instruction sets. All sets compute the same bits.
 */
#pragma once

#include <string.h>

#define FE_PASTE_(a, b) a##_##b
#define FE_PASTE(a, b) FE_PASTE_(a, b)
#define FE_TEXT_(a) #a
#define FE_TEXT(a) FE_TEXT_(a)

#define FE_INLINE static inline __attribute__((always_inline))

enum { FE_BASELINE, FE_AVX2, FE_AVX512 };

/* The best set that this processor has, not above the one named (NULL: no limit). */
static inline int fe_best_isa(const char *limit)
{
#if defined(__x86_64__)
    int level = FE_AVX512;
    if (limit && strcmp(limit, "avx2") == 0)
        level = FE_AVX2;
    if (limit && strcmp(limit, "baseline") == 0)
        level = FE_BASELINE;
    __builtin_cpu_init();
    if (level >= FE_AVX512 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return FE_AVX512;
    if (level >= FE_AVX2 && __builtin_cpu_supports("avx2"))
        return FE_AVX2;
#endif
    (void)limit;
    return FE_BASELINE;
}
