#include "isa_baseline.h"
#include "rows_kernels.h"
