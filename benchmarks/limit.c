/* What memory allows: of a lookup, read one word of every cache line of the rows, in the order of the ids, and
 * store zeros; of a step, read and write a word of every line of the rows in three tables. */
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

/* Leaves the tables as they are: each word is written as it was read. Then one word of each line of the gradient is
 * read. */
uint64_t move_rows(char *weights, char *m, char *v, size_t row_bytes, const int64_t *rows, int64_t n,
                   const char *gradient, size_t gradient_bytes, int64_t distance, int threads)
{
    char *const tables[] = {weights, m, v};
    uint64_t sum = 0;
#pragma omp parallel reduction(+ : sum) num_threads(threads)
    {
#pragma omp for schedule(static) nowait
        for (int64_t i = 0; i < n; i++) {
            if (distance && i + distance < n)
                for (int table = 0; table < 3; table++)
                    for (size_t k = 0; k < row_bytes; k += LINE)
                        __builtin_prefetch(tables[table] + rows[i + distance] * row_bytes + k, 1);
            for (int table = 0; table < 3; table++)
                for (size_t k = 0; k < row_bytes; k += LINE) {
                    volatile uint64_t *word = (volatile uint64_t *)(tables[table] + rows[i] * row_bytes + k);
                    *word = *word;
                }
        }
#pragma omp for schedule(static)
        for (size_t line = 0; line < gradient_bytes / LINE; line++)
            sum += *(const volatile uint64_t *)(gradient + line * LINE);
    }
    return sum;
}
