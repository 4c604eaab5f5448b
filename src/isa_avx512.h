/* x86-64 with AVX-512 (F, BW, DQ, VL: every server since Skylake-SP). */
#define FE_ISA avx512
#define FE_256
#define FE_512
#if defined(__clang__) /* knows no vector width here, and would ignore the whole attribute */
  #define FE_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#else
  #define FE_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))
#endif
