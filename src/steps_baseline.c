#include "isa_baseline.h"
#include "steps_kernels.h"
