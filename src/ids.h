/* Ids of any integer type, read into a private block. Part of rows_kernels.h: compiled once per
 * instruction set.
 *
 * The caller checks the block and the row kernels see only the block, never the ids themselves: an id that
 * another thread changes during a call may give another row, but never one outside the table. (Checking
 * the array in one pass and reading it again in a second is how other libraries came to read out of
 * bounds.) The barrier keeps the compiler from going back to the ids for what is in the block. */

#define FE_BARRIER() __asm__ volatile("" ::: "memory")
#define FE_SAME(x) (x)
#define FE_LOAD(name, raw, type, order)                                                           \
    FE_TARGET static void name(const char *ids, ptrdiff_t stride, ptrdiff_t n, uint64_t *block)   \
    {                                                                                             \
        if (stride == sizeof(raw)) /* a loop of its own, because it can be made of vectors */     \
            for (ptrdiff_t i = 0; i < n; ++i)                                                     \
                block[i] = (uint64_t)(int64_t)(type)order(((const raw *)ids)[i]);                 \
        else                                                                                      \
            for (ptrdiff_t i = 0; i < n; ++i, ids += stride)                                      \
                block[i] = (uint64_t)(int64_t)(type)order(*(const raw *)ids);                     \
        FE_BARRIER();                                                                             \
    }

FE_LOAD(load_i8, uint8_t, int8_t, FE_SAME)
FE_LOAD(load_u8, uint8_t, uint8_t, FE_SAME)
FE_LOAD(load_i16, uint16_t, int16_t, FE_SAME)
FE_LOAD(load_u16, uint16_t, uint16_t, FE_SAME)
FE_LOAD(load_i32, uint32_t, int32_t, FE_SAME)
FE_LOAD(load_u32, uint32_t, uint32_t, FE_SAME)
FE_LOAD(load_64, uint64_t, uint64_t, FE_SAME)
FE_LOAD(load_swapped_i16, uint16_t, int16_t, __builtin_bswap16)
FE_LOAD(load_swapped_u16, uint16_t, uint16_t, __builtin_bswap16)
FE_LOAD(load_swapped_i32, uint32_t, int32_t, __builtin_bswap32)
FE_LOAD(load_swapped_u32, uint32_t, uint32_t, __builtin_bswap32)
FE_LOAD(load_swapped_64, uint64_t, uint64_t, __builtin_bswap64)

#undef FE_LOAD
#undef FE_SAME

static fe_load loader(ptrdiff_t size, int is_signed, int is_swapped)
{
    switch (size) {
    case 1: return is_signed ? load_i8 : load_u8;
    case 2:
        if (is_swapped)
            return is_signed ? load_swapped_i16 : load_swapped_u16;
        return is_signed ? load_i16 : load_u16;
    case 4:
        if (is_swapped)
            return is_signed ? load_swapped_i32 : load_swapped_u32;
        return is_signed ? load_i32 : load_u32;
    case 8: return is_swapped ? load_swapped_64 : load_64;
    default: return NULL;
    }
}

FE_TARGET static ptrdiff_t first_outside(const uint64_t *block, ptrdiff_t n, uint64_t rows)
{
    if (n == 1)
        return block[0] < rows ? 1 : 0;
    /* One pass without branches or comparisons, which x86-64 alone cannot do on pairs of 64-bit numbers:
     * the top bit of id, or of rows - 1 - id, is set where the id is outside. The search runs only where
     * one is. */
    uint64_t outside = 0;
    for (ptrdiff_t i = 0; i < n; ++i)
        outside |= block[i] | (rows - 1 - block[i]);
    if (!(outside >> 63))
        return n;
    ptrdiff_t first = 0;
    while (block[first] < rows)
        ++first;
    return first;
}
