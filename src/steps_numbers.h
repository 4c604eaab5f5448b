/* The kernels of steps.h for one type: included with `number` (float or double), FE_NUMBER (its suffix) and
 * FE_SQRT, FE_FABS, FE_POW defined. Loops over the numbers of a row are left to the compiler to vectorise;
 * each number takes the same operations in the same order whatever the instruction set. */

/* Ftrl: numbers out of n and z. */
FE_TARGET static void FE_NUMBER(ftrl)(const fe_steps *steps, double lr, number *restrict out,
                                      const number *restrict n_sum, const number *restrict z, ptrdiff_t n)
{
    const double *c = steps->constants;
    const number power = (number)-c[0], l1 = (number)c[1], rate = (number)lr,
                 l2 = (number)(2 * (c[2] + c[4] / (2 * lr)));
    for (ptrdiff_t j = 0; j < n; ++j) {
        number root = power == (number)0.5 ? FE_SQRT(n_sum[j]) : FE_POW(n_sum[j], power);
        number clipped = z[j] > l1 ? l1 : z[j] < -l1 ? -l1 : z[j];
        out[j] = (clipped - z[j]) / (root / rate + l2);
    }
}

/* --- What rows are owed --------------------------------------------------------------------------- */

/* out = w + (w growth - m q (N_0 + N_1 y + ...)), for at most CHUNK numbers. */
FE_TARGET FE_INLINE void FE_NUMBER(add_series)(number *restrict out, const number *restrict w,
                                               const number *restrict m, const number *restrict q,
                                               const number *restrict y, const double *terms, int n_terms,
                                               number growth, ptrdiff_t n)
{
    number sum[CHUNK];
    for (ptrdiff_t j = 0; j < n; ++j)
        sum[j] = (number)terms[n_terms - 1];
    for (int t = n_terms - 2; t >= 0; --t) {
        const number term = (number)terms[t];
        for (ptrdiff_t j = 0; j < n; ++j)
            sum[j] = sum[j] * y[j] + term;
    }
    for (ptrdiff_t j = 0; j < n; ++j)
        out[j] = w[j] + (w[j] * growth - m[j] * q[j] * sum[j]);
}

/* Nadam before its corrections have settled: one step after the other. */
FE_TARGET static void FE_NUMBER(walk)(const fe_steps *steps, const fe_debt *debt, number *out,
                                      const number *w, const number *m, const number *v, ptrdiff_t n)
{
    const int32_t last = debt->last;
    const double epsilon = steps->constants[2];
    int32_t idle = steps->now - last, moved = idle < steps->window ? idle : steps->window;
    const double kept_after = debt->kept * (1 + growth_between(steps, last + moved, steps->now));
    for (ptrdiff_t j = 0; j < n; ++j) {
        double value = w[j];
        if (m[j] == 0) {
            out[j] = (number)(value * debt->kept * (1 + growth_between(steps, last, steps->now)));
            continue;
        }
        for (int32_t k = 1; k <= moved; ++k) {
            const double *past = past_of(steps, last + k);
            value *= 1 + growth_between(steps, last + k - 1, last + k);
            value -= past[FE_MOVED] * m[j] * steps->fades[0][k]
                     / (sqrt(v[j] * steps->fades[1][k]) / past[FE_CORRECTED] + epsilon);
        }
        out[j] = (number)(value * kept_after);
    }
}

/* How a number that has died out in the meantime has moved: until step s + k - 1 its slot had a sign. */
static inline double FE_NUMBER(lion_of)(const fe_steps *steps, const fe_debt *debt, number m)
{
    double size = FE_FABS(m);
    if (!(size >= steps->least))
        return 0;
    if (size >= debt->least)
        return debt->moved;
    int32_t end = debt->last + 1 + (int32_t)floor(log(size / steps->least) / -steps->log_fades[0]);
    end = end < steps->now ? end : steps->now;
    return debt->kept * sum_lion(steps, debt->last, end) * (1 + growth_between(steps, end, steps->now));
}

/* At most CHUNK numbers of a row, with all that is owed to them. */
FE_TARGET static void FE_NUMBER(finish_some)(const fe_steps *steps, const fe_debt *debt,
                                             number *restrict out, const number *restrict w,
                                             const number *restrict s0, const number *restrict s1,
                                             const number *restrict s2, ptrdiff_t n)
{
    const number growth = (number)debt->growth, epsilon = (number)steps->constants[2];
    number q[CHUNK], y[CHUNK];
    switch (steps->rule) {
    case FE_MOMENTUM:
    case FE_NESTEROV:
    case FE_RMSPROP_MOMENTUM:
    case FE_RMSPROP_CENTERED_MOMENTUM: {
        const int adds = steps->rule == FE_MOMENTUM || steps->rule == FE_NESTEROV;
        const number *restrict m = adds ? s0 : steps->rule == FE_RMSPROP_MOMENTUM ? s1 : s2;
        const number term = (number)(adds ? debt->terms[0] : -debt->terms[0]);
        for (ptrdiff_t j = 0; j < n; ++j)
            out[j] = w[j] + (w[j] * growth + m[j] * term);
        break;
    }
    case FE_AMSGRAD: {
        const number term = (number)debt->terms[0];
        for (ptrdiff_t j = 0; j < n; ++j)
            out[j] = w[j] + (w[j] * growth - s0[j] * term / (FE_SQRT(s2[j]) + epsilon));
        break;
    }
    case FE_NADAM:
        if (debt->is_walked) {
            FE_NUMBER(walk)(steps, debt, out, w, s0, s1, n);
            break;
        } /* else its sum is Adam's, of v corrected as it was at the row's last step */
        /* fall through */
    case FE_ADAM: {
        const number corrected =
            steps->rule == FE_NADAM ? (number)(1 / past_of(steps, debt->last)[FE_CORRECTED]) : 1;
        for (ptrdiff_t j = 0; j < n; ++j) {
            number root = FE_SQRT(s1[j]) * corrected;
            q[j] = 1 / (root + epsilon);
            y[j] = root * q[j];
        }
        FE_NUMBER(add_series)(out, w, s0, q, y, debt->terms, steps->terms, growth, n);
        break;
    }
    case FE_ADAMAX:
        for (ptrdiff_t j = 0; j < n; ++j) {
            q[j] = 1 / (s1[j] + epsilon);
            y[j] = s1[j] * q[j];
        }
        FE_NUMBER(add_series)(out, w, s0, q, y, debt->terms, steps->terms, growth, n);
        break;
    case FE_FTRL:
        FE_NUMBER(ftrl)(steps, steps->last_rate, out, s0, s1, n);
        break;
    case FE_LION: {
        const number moved = (number)debt->moved, least = (number)debt->least;
        int died = 0;
        for (ptrdiff_t j = 0; j < n; ++j) {
            const number size = FE_FABS(s0[j]);
            died |= size < least && size > 0;
            out[j] = w[j] + (w[j] * growth - (size >= least ? (s0[j] > 0 ? moved : -moved) : 0));
        }
        for (ptrdiff_t j = 0; died && j < n; ++j)
            if (FE_FABS(s0[j]) < least) {
                const number some = (number)FE_NUMBER(lion_of)(steps, debt, s0[j]);
                out[j] = s0[j] > 0 ? out[j] - some : out[j] + some;
            }
        break;
    }
    default: /* only decay moves these */
        for (ptrdiff_t j = 0; j < n; ++j)
            out[j] = w[j] + w[j] * growth;
    }
    if (steps->is_nonneg)
        for (ptrdiff_t j = 0; j < n; ++j)
            out[j] = out[j] > 0 || out[j] != out[j] ? out[j] : 0;
}

/* Numbers of a row, with all that is owed to them. `out` may be `w`: no loop writes to what it reads. */
FE_TARGET static void FE_NUMBER(finish_row)(const fe_steps *steps, const fe_debt *debt,
                                            number *out, const number *w, const number *s0, const number *s1,
                                            const number *s2, ptrdiff_t n)
{
    number some[CHUNK];
    for (ptrdiff_t j = 0; j < n; j += CHUNK) {
        const ptrdiff_t left = n - j, count = left < CHUNK ? left : CHUNK;
        FE_NUMBER(finish_some)
        (steps, debt, some, w + j, s0 ? s0 + j : s0, s1 ? s1 + j : s1, s2 ? s2 + j : s2, count);
        memcpy(out + j, some, count * sizeof(number));
    }
}

/* What a slot has faded to; of Lion's, what is less than a normal number is nothing (steps.h). */
FE_TARGET static void FE_NUMBER(fade_row)(const fe_steps *steps, number *slot, double fade, ptrdiff_t n)
{
    const number factor = (number)fade, least = steps->rule == FE_LION ? FE_TINY : 0;
    for (ptrdiff_t j = 0; j < n; ++j) {
        const number faded = slot[j] * factor;
        slot[j] = FE_FABS(faded) < least ? 0 : faded;
    }
}

FE_TARGET FE_INLINE void FE_NUMBER(fetch_ahead)(const fe_steps *steps, const uint64_t *rows, ptrdiff_t i,
                                                ptrdiff_t n, size_t from, size_t to)
{
    if (steps->last && i + LAST_AHEAD < n)
        __builtin_prefetch(steps->last + rows[i + LAST_AHEAD], 1);
    if (i + ROWS_AHEAD >= n)
        return;
    const size_t start = rows[i + ROWS_AHEAD] * steps->row_bytes;
    for (size_t j = from; j < to; j += FE_LINE) {
        __builtin_prefetch(steps->rows + start + j, 1);
        for (int slot = 0; slot < FE_MOST_SLOTS && steps->slots[slot]; ++slot)
            if (steps->rule != FE_ROWWISE_ADAGRAD)
                __builtin_prefetch(steps->slots[slot] + start + j, 1);
    }
}

FE_TARGET static void FE_NUMBER(finish_rows)(const fe_steps *steps, int which, char *to, const uint64_t *rows,
                                             ptrdiff_t n)
{
    const ptrdiff_t dim = steps->dim;
    fe_debt debt;
    for (ptrdiff_t i = 0; i < n; ++i) {
        const size_t start = rows[i] * steps->row_bytes;
        const number *w = (const number *)(steps->rows + start), *slots[FE_MOST_SLOTS];
        number *out = (number *)(to + i * steps->row_bytes);
        FE_NUMBER(fetch_ahead)(steps, rows, i, n, 0, steps->row_bytes);
        for (int j = 0; j < FE_MOST_SLOTS; ++j)
            slots[j] = (const number *)(steps->slots[j] ? steps->slots[j] + start : NULL);
        find_debt(steps, rows[i], 0, &debt);
        if (out != (which < 0 ? w : slots[which]) && (which >= 0 || debt.idle == 0))
            memcpy(out, which < 0 ? w : slots[which], steps->row_bytes);
        if (debt.idle && which < 0)
            FE_NUMBER(finish_row)(steps, &debt, out, w, slots[0], slots[1], slots[2], dim);
        if (debt.idle && which >= 0)
            FE_NUMBER(fade_row)(steps, out, debt.fades[which], dim);
    }
}

/* --- One step ------------------------------------------------------------------------------------- */

/* Numbers by their gradients; NULL: those are zero. */
FE_TARGET static void FE_NUMBER(move)(const fe_steps *steps, double decay, number *restrict w,
                                      number *restrict s0, number *restrict s1, number *restrict s2,
                                      const number *restrict g, ptrdiff_t n)
{
    static const number zeros[ZEROS] = {0};
    const double *c = steps->constants;
    const number x0 = (number)steps->numbers[0], x1 = (number)steps->numbers[1],
                 x2 = (number)steps->numbers[2];
    if (!g) { /* in chunks, so that there is one loop a rule */
        for (; n > ZEROS; n -= ZEROS, w += ZEROS) {
            FE_NUMBER(move)(steps, decay, w, s0, s1, s2, zeros, ZEROS);
            s0 += s0 ? ZEROS : 0;
            s1 += s1 ? ZEROS : 0;
            s2 += s2 ? ZEROS : 0;
        }
        g = zeros;
    }
    if (decay != 0) {
        const number part = (number)decay;
        for (ptrdiff_t j = 0; j < n; ++j)
            w[j] -= w[j] * part;
    }
    switch (steps->rule) {
    case FE_SGD:
        for (ptrdiff_t j = 0; j < n; ++j)
            w[j] -= x0 * g[j];
        break;
    case FE_MOMENTUM: {
        const number mu = (number)c[0];
        for (ptrdiff_t j = 0; j < n; ++j) {
            s0[j] = s0[j] * mu - g[j] * x0;
            w[j] += s0[j];
        }
        break;
    }
    case FE_NESTEROV: {
        const number mu = (number)c[0];
        for (ptrdiff_t j = 0; j < n; ++j) {
            s0[j] = s0[j] * mu - g[j] * x0;
            w[j] += s0[j] * mu - g[j] * x0;
        }
        break;
    }
    case FE_RMSPROP: {
        const number rho = (number)c[0], rest = (number)(1 - c[0]), epsilon = (number)c[1];
        for (ptrdiff_t j = 0; j < n; ++j) {
            s0[j] = rho * s0[j] + rest * (g[j] * g[j]);
            w[j] -= x0 * g[j] / FE_SQRT(s0[j] + epsilon);
        }
        break;
    }
    case FE_RMSPROP_MOMENTUM: {
        const number rho = (number)c[0], rest = (number)(1 - c[0]), epsilon = (number)c[1], mu = (number)c[2];
        for (ptrdiff_t j = 0; j < n; ++j) {
            s0[j] = rho * s0[j] + rest * (g[j] * g[j]);
            s1[j] = mu * s1[j] + x0 * g[j] / FE_SQRT(s0[j] + epsilon);
            w[j] -= s1[j];
        }
        break;
    }
    case FE_RMSPROP_CENTERED: {
        const number rho = (number)c[0], rest = (number)(1 - c[0]), epsilon = (number)c[1];
        for (ptrdiff_t j = 0; j < n; ++j) {
            s0[j] = rho * s0[j] + rest * (g[j] * g[j]);
            s1[j] = rho * s1[j] + rest * g[j];
            w[j] -= x0 * g[j] / FE_SQRT(s0[j] - s1[j] * s1[j] + epsilon);
        }
        break;
    }
    case FE_RMSPROP_CENTERED_MOMENTUM: {
        const number rho = (number)c[0], rest = (number)(1 - c[0]), epsilon = (number)c[1], mu = (number)c[2];
        for (ptrdiff_t j = 0; j < n; ++j) {
            s0[j] = rho * s0[j] + rest * (g[j] * g[j]);
            s1[j] = rho * s1[j] + rest * g[j];
            s2[j] = mu * s2[j] + x0 * g[j] / FE_SQRT(s0[j] - s1[j] * s1[j] + epsilon);
            w[j] -= s2[j];
        }
        break;
    }
    case FE_ADAGRAD: {
        const number epsilon = (number)c[0];
        for (ptrdiff_t j = 0; j < n; ++j) {
            s0[j] += g[j] * g[j];
            w[j] -= x0 * g[j] / FE_SQRT(s0[j] + epsilon);
        }
        break;
    }
    case FE_ADADELTA: {
        const number rho = (number)c[0], rest = (number)(1 - c[0]), epsilon = (number)c[1];
        for (ptrdiff_t j = 0; j < n; ++j) {
            s0[j] = rho * s0[j] + rest * (g[j] * g[j]);
            number delta = -(FE_SQRT(s1[j] + epsilon) * g[j] / FE_SQRT(s0[j] + epsilon));
            s1[j] = rho * s1[j] + rest * (delta * delta);
            w[j] += x0 * delta;
        }
        break;
    }
    case FE_ADAM: {
        const number rest_1 = (number)(1 - c[0]), rest_2 = (number)(1 - c[1]), epsilon = (number)c[2];
        for (ptrdiff_t j = 0; j < n; ++j) {
            s0[j] += (g[j] - s0[j]) * rest_1;
            s1[j] += (g[j] * g[j] - s1[j]) * rest_2;
            w[j] -= s0[j] * x0 / (FE_SQRT(s1[j]) + epsilon);
        }
        break;
    }
    case FE_AMSGRAD: {
        const number rest_1 = (number)(1 - c[0]), rest_2 = (number)(1 - c[1]), epsilon = (number)c[2];
        for (ptrdiff_t j = 0; j < n; ++j) {
            s0[j] += (g[j] - s0[j]) * rest_1;
            s1[j] += (g[j] * g[j] - s1[j]) * rest_2;
            s2[j] = s1[j] > s2[j] || s1[j] != s1[j] ? s1[j] : s2[j];
            w[j] -= s0[j] * x0 / (FE_SQRT(s2[j]) + epsilon);
        }
        break;
    }
    case FE_ADAMAX: {
        const number rest_1 = (number)(1 - c[0]), beta_2 = (number)c[1], epsilon = (number)c[2];
        for (ptrdiff_t j = 0; j < n; ++j) {
            number faded = beta_2 * s1[j], size = FE_FABS(g[j]);
            s0[j] += (g[j] - s0[j]) * rest_1;
            s1[j] = size > faded || size != size ? size : faded;
            w[j] -= s0[j] * x0 / (s1[j] + epsilon);
        }
        break;
    }
    case FE_NADAM: {
        const number rest_1 = (number)(1 - c[0]), rest_2 = (number)(1 - c[1]), epsilon = (number)c[2];
        for (ptrdiff_t j = 0; j < n; ++j) {
            s0[j] += (g[j] - s0[j]) * rest_1;
            s1[j] += (g[j] * g[j] - s1[j]) * rest_2;
            w[j] -= (x0 * s0[j] + x1 * g[j]) / (FE_SQRT(s1[j]) / x2 + epsilon);
        }
        break;
    }
    case FE_FTRL: {
        const number power = (number)-c[0], shrinkage = (number)(2 * c[3]);
        for (ptrdiff_t j = 0; j < n; ++j) {
            number old = s0[j], sum = old + g[j] * g[j];
            number change = power == (number)0.5 ? FE_SQRT(sum) - FE_SQRT(old)
                                                 : FE_POW(sum, power) - FE_POW(old, power);
            s1[j] += g[j] + shrinkage * w[j] - change / x0 * w[j];
            s0[j] = sum;
        }
        FE_NUMBER(ftrl)(steps, steps->numbers[0], w, s0, s1, n);
        break;
    }
    case FE_LION: {
        const number beta_1 = (number)c[0], rest_1 = (number)(1 - c[0]), beta_2 = (number)c[1],
                     rest_2 = (number)(1 - c[1]);
        for (ptrdiff_t j = 0; j < n; ++j) {
            number way = beta_1 * s0[j] + rest_1 * g[j], next = beta_2 * s0[j] + rest_2 * g[j];
            w[j] -= way >= FE_TINY ? x0 : way <= -FE_TINY ? -x0 : way != way ? way : 0;
            s0[j] = FE_FABS(next) < FE_TINY ? 0 : next;
        }
        break;
    }
    case FE_LAMB: { /* the slots are moved by then; x0 holds the ratio as well */
        const number epsilon = (number)c[2];
        for (ptrdiff_t j = 0; j < n; ++j)
            w[j] -= x0 * (s0[j] / x1 / (FE_SQRT(s1[j] / x2) + epsilon));
        break;
    }
    default:;
    }
    if (steps->is_nonneg)
        for (ptrdiff_t j = 0; j < n; ++j)
            w[j] = w[j] > 0 || w[j] != w[j] ? w[j] : 0;
}

/* A row whose slot is one number. */
FE_TARGET static void FE_NUMBER(move_rowwise)(const fe_steps *steps, double decay, number *restrict w,
                                              number *restrict slot, const number *restrict g, ptrdiff_t n)
{
    double lanes[LANES] = {0}, sum = 0;
    ptrdiff_t j = 0;
    for (; j + LANES <= n; j += LANES)
        for (int lane = 0; lane < LANES; ++lane)
            lanes[lane] += (double)g[j + lane] * g[j + lane];
    for (int lane = 0; j < n; ++j, ++lane)
        lanes[lane] += (double)g[j] * g[j];
    for (int lane = 0; lane < LANES; ++lane)
        sum += lanes[lane];
    if (n)
        *slot += (number)(sum / n);
    const number part = (number)decay;
    const number rate = (number)steps->numbers[0] / FE_SQRT(*slot + (number)steps->constants[0]);
    for (j = 0; part != 0 && j < n; ++j)
        w[j] -= w[j] * part;
    for (j = 0; j < n; ++j)
        w[j] -= rate * g[j];
    if (steps->is_nonneg)
        for (j = 0; j < n; ++j)
            w[j] = w[j] > 0 || w[j] != w[j] ? w[j] : 0;
}

FE_TARGET static void FE_NUMBER(move_rows)(const fe_steps *steps, const uint64_t *rows, ptrdiff_t n,
                                           const char *gradients, size_t stride, size_t from, size_t to,
                                           int marks)
{
    const ptrdiff_t dim = (ptrdiff_t)((to - from) / sizeof(number));
    fe_debt debt;
    for (ptrdiff_t i = 0; i < n; ++i) {
        const uint64_t row = rows[i];
        const size_t start = row * steps->row_bytes + from;
        const number *g = (const number *)(gradients + i * stride);
        number *w = (number *)(steps->rows + start), *slots[FE_MOST_SLOTS];
        FE_NUMBER(fetch_ahead)(steps, rows, i, n, from, to);
        if (steps->rule == FE_ROWWISE_ADAGRAD)
            slots[0] = (number *)steps->slots[0] + row;
        else
            for (int j = 0; j < FE_MOST_SLOTS; ++j)
                slots[j] = (number *)(steps->slots[j] ? steps->slots[j] + start : NULL);
        double decay = steps->decay;
        if (steps->last) {
            const int pays =
                steps->terms || steps->decays || steps->rule == FE_LION || steps->rule == FE_FTRL;
            /* Ftrl's rows are made of its slots, and then decayed. */
            const int also_decays = pays && steps->rule != FE_FTRL;
            find_debt(steps, row, also_decays ? decay : 0, &debt);
            if (debt.idle) {
                if (pays)
                    FE_NUMBER(finish_row)(steps, &debt, w, w, slots[0], slots[1], slots[2], dim);
                if (also_decays)
                    decay = 0;
                for (int j = 0; j < FE_MOST_SLOTS; ++j)
                    if (steps->fades[j])
                        FE_NUMBER(fade_row)(steps, slots[j], debt.fades[j], dim);
            }
            if (marks)
                steps->last[row] = steps->now + 1;
        }
        if (steps->rule == FE_ROWWISE_ADAGRAD)
            FE_NUMBER(move_rowwise)(steps, decay, w, slots[0], g, dim);
        else
            FE_NUMBER(move)(steps, decay, w, slots[0], slots[1], slots[2], g, dim);
    }
}

FE_TARGET static void FE_NUMBER(move_run)(const fe_steps *steps, size_t from, size_t to, const char *gradient)
{
    number *slots[FE_MOST_SLOTS];
    for (int j = 0; j < FE_MOST_SLOTS; ++j)
        slots[j] = (number *)(steps->slots[j] ? steps->slots[j] + from : NULL);
    FE_NUMBER(move)(steps, steps->decay, (number *)(steps->rows + from), slots[0], slots[1], slots[2],
                    (const number *)gradient, (ptrdiff_t)((to - from) / sizeof(number)));
}

FE_TARGET static void FE_NUMBER(measure_run)(const fe_steps *steps, size_t from, size_t to,
                                             const char *gradient, double *squares)
{
    const number *restrict g = (const number *)gradient;
    number *restrict w = (number *)(steps->rows + from), *restrict m = (number *)(steps->slots[0] + from),
                     *restrict v = (number *)(steps->slots[1] + from);
    const double *c = steps->constants;
    const number rest_1 = (number)(1 - c[0]), rest_2 = (number)(1 - c[1]), epsilon = (number)c[2],
                 x1 = (number)steps->numbers[1], x2 = (number)steps->numbers[2], decay = (number)steps->decay;
    const ptrdiff_t n = (ptrdiff_t)((to - from) / sizeof(number));
    double of_rows[LANES] = {0}, of_ways[LANES] = {0};
    for (ptrdiff_t start = 0; start < n; start += LANES) {
        const ptrdiff_t some = n - start < LANES ? n - start : LANES;
        number way[LANES] = {0}, kept[LANES] = {0};
        for (ptrdiff_t lane = 0; lane < some; ++lane) {
            const ptrdiff_t j = start + lane;
            const number slope = g ? g[j] : 0;
            if (decay != 0)
                w[j] -= w[j] * decay;
            m[j] += (slope - m[j]) * rest_1;
            v[j] += (slope * slope - v[j]) * rest_2;
            kept[lane] = w[j];
            way[lane] = m[j] / x1 / (FE_SQRT(v[j] / x2) + epsilon);
        }
        for (int lane = 0; lane < LANES; ++lane) {
            of_rows[lane] += (double)kept[lane] * kept[lane];
            of_ways[lane] += (double)way[lane] * way[lane];
        }
    }
    squares[0] = squares[1] = 0;
    for (int lane = 0; lane < LANES; ++lane) {
        squares[0] += of_rows[lane];
        squares[1] += of_ways[lane];
    }
}
