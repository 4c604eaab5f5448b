#include "isa_baseline.h"
#include "pooling_kernels.h"
