/* What memory allows: read one word of every cache line of the rows, in the order of the ids; store zeros. */
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { LINE = 64 };

/* Prefetches the first `ahead_lines` lines of the row `distance` ids ahead. The sum keeps the reads from being dropped. */
uint64_t read_rows(const char *table, size_t row_bytes, const int64_t *ids, int64_t n, int64_t distance,
                   int64_t ahead_lines, int threads)
{
    uint64_t sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum) num_threads(threads)
    for (int64_t i = 0; i < n; i++) {
        if (distance && i + distance < n) {
            uintptr_t first = (uintptr_t)(table + ids[i + distance] * row_bytes);
            uintptr_t line = first & ~(uintptr_t)(LINE - 1);
            for (int64_t k = 0; k < ahead_lines && line < first + row_bytes; k++, line += LINE)
                _mm_prefetch((const char *)line, _MM_HINT_T0);
        }
        uintptr_t first = (uintptr_t)(table + ids[i] * row_bytes);
        for (uintptr_t line = first & ~(uintptr_t)(LINE - 1); line < first + row_bytes; line += LINE)
            sum += *(const volatile uint64_t *)line;
    }
    return sum;
}

/* Whole lines of zeros, past the caches or through them. */
void store(char *out, size_t bytes, int streaming, int threads)
{
    const __m128i zero = _mm_setzero_si128();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t block = 0; block < bytes / 4096; block++) {
        char *page = out + block * 4096;
        if (streaming)
            for (size_t k = 0; k < 4096; k += 16)
                _mm_stream_si128((__m128i *)(page + k), zero);
        else
            memset(page, 0, 4096);
    }
    _mm_sfence();
}
