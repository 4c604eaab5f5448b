/* The row kernels for what every processor of the build's architecture has. */
#define FE_ISA baseline
#define FE_TARGET
#include "rows_kernels.h"
