#if defined(__x86_64__)
  #include "isa_avx2.h"
  #include "rows_kernels.h"
#endif
