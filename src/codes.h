/* Rows of codes made into numbers. Part of rows_kernels.h: compiled once per instruction set.
 *
 * A row is made in pieces of FE_CODES columns: its codes are unpacked first where they are packed, and the
 * numbers go through a buffer where they are to be stored past the caches. float32 is the usual type, and has
 * loops of its own for the usual ways of storing. */

enum { FE_CODES = 256 };

/* So many numbers are made at a time, in a loop of constant length: all of it vectors, whatever comes before
 * and after. */
enum { FE_LOT = 32 };

/* n codes of half a byte each; one more where n is odd. */
FE_TARGET FE_INLINE void unpack(int8_t *restrict codes, const char *restrict packed, size_t n)
{
    size_t j = 0;
#if defined(__x86_64__)
    const __m128i low = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);
    for (; j + 16 <= n / 2; j += 16) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(packed + j));
        const __m128i even = _mm_and_si128(bytes, low);
        const __m128i odd = _mm_and_si128(_mm_srli_epi16(bytes, 4), low);
        const __m128i first = _mm_xor_si128(_mm_unpacklo_epi8(even, odd), eight);
        const __m128i second = _mm_xor_si128(_mm_unpackhi_epi8(even, odd), eight);
#if defined(FE_256)
        /* In one store, because they are loaded again as one: two would have to reach the cache first. */
        const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_sub_epi8(first, eight)),
                                                     _mm_sub_epi8(second, eight), 1);
        _mm256_storeu_si256((__m256i *)(codes + 2 * j), both);
#else
        _mm_storeu_si128((__m128i *)(codes + 2 * j), _mm_sub_epi8(first, eight));
        _mm_storeu_si128((__m128i *)(codes + 2 * j + 16), _mm_sub_epi8(second, eight));
#endif
    }
#endif
    for (; j < (n + 1) / 2; ++j) {
        uint8_t byte = (uint8_t)packed[j];
        codes[2 * j] = (int8_t)(((byte & 15) ^ 8) - 8);
        codes[2 * j + 1] = (int8_t)(((byte >> 4) ^ 8) - 8);
    }
}

FE_TARGET FE_INLINE uint32_t bits_of(float number)
{
    uint32_t bits;
    memcpy(&bits, &number, 4);
    return bits;
}

FE_TARGET FE_INLINE float float_of(uint32_t bits)
{
    float number;
    memcpy(&number, &bits, 4);
    return number;
}

/* The nearest bfloat16 and float16; halves go to the even one. Without branches, so that loops of them can be
 * made of vectors. */
FE_TARGET FE_INLINE uint16_t bfloat16_of(float number)
{
    const uint32_t bits = bits_of(number);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    const uint32_t quiet = bits >> 16 | 0x40; /* rounding could make a NaN infinite */
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

FE_TARGET FE_INLINE uint16_t float16_of(float number)
{
    const uint32_t bits = bits_of(number);
    const uint32_t sign = bits >> 16 & 0x8000;
    const uint32_t size = bits & 0x7fffffff;
    /* The exponent counts from another number, and 13 bits are rounded away. */
    const uint32_t normal = (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13;
    /* Below 2^-14 float16 has multiples of 2^-24, and so have floats from 0.5 on. */
    const uint32_t small = bits_of(float_of(size) + 0.5f) - 0x3f000000;
    const uint32_t quiet = 0x7e00 | (size >> 13 & 0x3ff);
    uint32_t half = size < 0x38800000 ? small : normal;
    half = size >= 0x47800000 ? 0x7c00 : half; /* 2^16 and more: infinite */
    half = size > 0x7f800000 ? quiet : half;
    return (uint16_t)(sign | half);
}

#define FE_SAME(x) (x)

#if defined(__x86_64__)
  #define FE_STREAM_ROW(to, from, n) stream_row(to, from, n)
  #define FE_STREAMED() _mm_sfence()
#else /* where nothing is streamed */
  #define FE_STREAM_ROW(to, from, n) memcpy(to, from, n)
  #define FE_STREAMED() ((void)0)
#endif

#define FE_TAKE_CODES(name, wide, number, as, is_usual)                                           \
    FE_TARGET FE_INLINE void name##_lot(number *restrict to, const int8_t *restrict codes,        \
                                        wide scale, int of_zero, int has_zero)                    \
    {                                                                                             \
        for (size_t j = 0; j < FE_LOT; ++j)                                                       \
            to[j] = as(has_zero ? (wide)(codes[j] - of_zero) * scale : (wide)codes[j] / scale);   \
    }                                                                                             \
                                                                                                  \
    FE_TARGET FE_INLINE void name##_run(number *restrict to, const int8_t *restrict codes,        \
                                        size_t n, wide scale, int of_zero, int has_zero)          \
    {                                                                                             \
        size_t j = 0;                                                                             \
        for (; j + FE_LOT <= n; j += FE_LOT)                                                      \
            name##_lot(to + j, codes + j, scale, of_zero, has_zero);                              \
        if (j < n) {                                                                              \
            int8_t last[FE_LOT] = {0};                                                            \
            number made[FE_LOT];                                                                  \
            memcpy(last, codes + j, n - j);                                                       \
            name##_lot(made, last, scale, of_zero, has_zero);                                     \
            memcpy(to + j, made, (n - j) * sizeof(number));                                       \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    /* Called with constants for what follows `known`: loops without what their rows do not need  \
     * take half the time. */                                                                     \
    FE_TARGET FE_INLINE void name##_rows(char *out, const struct fe_table *table,                 \
                                         const uint64_t *block, ptrdiff_t n, ptrdiff_t known,     \
                                         int is_packed, int has_zero, int has_runs, int streams)  \
    {                                                                                             \
        int8_t unpacked[FE_CODES] __attribute__((aligned(FE_LINE)));                              \
        number numbers[FE_CODES] __attribute__((aligned(FE_LINE)));                               \
        const fe_codes how = *table->codes;                                                       \
        const char *data = table->data;                                                           \
        const size_t row_bytes = table->row_bytes;                                                \
        const ptrdiff_t ahead = table->ahead;                                                     \
        for (ptrdiff_t i = 0; i < n; ++i, out += how.columns * sizeof(number)) {                  \
            if (ahead && i + ahead < known)                                                       \
                fetch_codes(&how, data, row_bytes, block[i + ahead]);                             \
            const char *row = data + block[i] * row_bytes;                                        \
            const wide *scale = (const wide *)how.scale + block[i] * how.groups;                  \
            const int8_t *zero = has_zero ? how.zero + block[i] * how.groups : NULL;              \
            const fe_run *run = how.runs;                                                         \
            for (size_t start = 0; start < how.columns; start += FE_CODES) {                      \
                const size_t left = how.columns - start, most = left < FE_CODES ? left : FE_CODES;\
                const int8_t *codes = (const int8_t *)row + start;                                \
                number *to = streams ? numbers : (number *)out + start;                           \
                if (is_packed) {                                                                  \
                    unpack(unpacked, row + start / 2, most);                                      \
                    codes = unpacked;                                                             \
                }                                                                                 \
                if (!has_runs)                                                                    \
                    name##_run(to, codes, most, *scale, has_zero ? *zero : 0, has_zero);          \
                for (size_t j = 0, end; has_runs && j < most; j = end) {                          \
                    run += run->stop <= start + j;                                                \
                    end = run->stop - start < most ? run->stop - start : most;                    \
                    name##_run(to + j, codes + j, end - j, scale[run->group],                     \
                               has_zero ? zero[run->group] : 0, has_zero);                        \
                }                                                                                 \
                if (streams)                                                                      \
                    FE_STREAM_ROW((char *)((number *)out + start), (const char *)numbers,         \
                                  most * sizeof(number));                                         \
            }                                                                                     \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    /* Rows of any kind in one loop: there is one for each type and instruction set. */           \
    FE_TARGET static __attribute__((noinline)) void name##_any(                                   \
        char *out, const struct fe_table *table, const uint64_t *block, ptrdiff_t n,              \
        ptrdiff_t known, int streams)                                                             \
    {                                                                                             \
        const fe_codes *how = table->codes;                                                       \
        name##_rows(out, table, block, n, known, how->is_packed, how->zero != NULL, 1, streams);  \
    }                                                                                             \
                                                                                                  \
    FE_TARGET static void name##_codes(char *out, const struct fe_table *table,                   \
                                       const uint64_t *block, ptrdiff_t n, ptrdiff_t known)       \
    {                                                                                             \
        const fe_codes *how = table->codes;                                                       \
        if (is_usual && how->groups == 1 && !how->zero && !how->is_packed)                        \
            name##_rows(out, table, block, n, known, 0, 0, 0, 0);                                 \
        else if (is_usual && how->groups == 1 && !how->zero)                                      \
            name##_rows(out, table, block, n, known, 1, 0, 0, 0);                                 \
        else if (is_usual && how->zero && how->is_packed)                                         \
            name##_rows(out, table, block, n, known, 1, 1, 1, 0);                                 \
        else                                                                                      \
            name##_any(out, table, block, n, known, 0);                                           \
    }                                                                                             \
                                                                                                  \
    FE_TARGET static void stream_##name##_codes(char *out, const struct fe_table *table,          \
                                                const uint64_t *block, ptrdiff_t n,               \
                                                ptrdiff_t known)                                  \
    {                                                                                             \
        name##_any(out, table, block, n, known, 1);                                               \
        FE_STREAMED();                                                                            \
    }

FE_TAKE_CODES(float32, float, float, FE_SAME, 1)
FE_TAKE_CODES(float64, double, double, FE_SAME, 0)
FE_TAKE_CODES(float16, float, uint16_t, float16_of, 0)
FE_TAKE_CODES(bfloat16, float, uint16_t, bfloat16_of, 0)

#undef FE_SAME
