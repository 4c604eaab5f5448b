/* x86-64 with AVX2. */
#define FE_ISA avx2
#define FE_256
#define FE_TARGET __attribute__((target("avx2")))
