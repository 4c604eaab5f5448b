/* The row kernels for x86-64 with AVX2. */
#if defined(__x86_64__)
#define FE_ISA avx2
#define FE_256
#define FE_TARGET __attribute__((target("avx2")))
#include "rows_kernels.h"
#endif
