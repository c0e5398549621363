/* The elementwise pass of population/coefficients.py as one loop over each member's row.
 *
 * Compile with -ffp-contract=off and without -ffast-math: every operation is rounded on its own,
 * as in the torch implementation. The file includes itself once for each type.
 */
#ifndef REAL
#include <math.h>
#include <stddef.h>

enum { L2, SQ_DECAY, SQ_GAIN, GRAD_AVG_GAIN, ABS_GAIN, ABS_FLOOR, MAX_DECAY, ROOT, FLOOR, LOW, HIGH, SCALE_FIRST,
       AVG_DECAY, AVG_GAIN, SIGN, SIGN_LR, SHRINK, FROM_AVG, FROM_GRADIENT, CLIP_NORM,
       FIELDS };
enum { EXP_AVG = 1, EXP_AVG_SQ = 2, GRAD_AVG = 4, MAX_SQ = 8, CLIP = 16, FIRST = 32, ABSOLUTE = 64, SIGNED = 128 };
enum { LANES = 8 };

const int adamtune_fields = FIELDS;

#define REAL float
#define SQRT sqrtf
#define ROW row_float
#define UPDATE update_float
#define UPDATE_ALL adamtune_update_float
#define CLIP_ALL adamtune_clip_float
#include "update.c"
#undef REAL
#undef SQRT
#undef ROW
#undef UPDATE
#undef UPDATE_ALL
#undef CLIP_ALL
#define REAL double
#define SQRT sqrt
#define ROW row_double
#define UPDATE update_double
#define UPDATE_ALL adamtune_update_double
#define CLIP_ALL adamtune_clip_double
#include "update.c"

#else

/* Inlined with constant `terms`, so that the loop has no branch and becomes vector code. */
static inline __attribute__((always_inline)) void ROW(
    ptrdiff_t n, REAL *restrict x, const REAL *restrict gradient, REAL *restrict exp_avg,
    REAL *restrict exp_avg_sq, REAL *restrict grad_avg, REAL *restrict max_sq, const REAL *restrict k, const REAL gain,
    const int decays, const int terms)
{
    const REAL l2 = decays ? k[L2] : 0, shrink = decays ? k[SHRINK] : 1, sq_decay = k[SQ_DECAY], sq_gain = k[SQ_GAIN];
    const REAL abs_floor = k[ABS_FLOOR], sign_lr = k[SIGN_LR];
    const REAL grad_avg_gain = k[GRAD_AVG_GAIN], max_decay = k[MAX_DECAY], root = k[ROOT], floor_ = k[FLOOR];
    const REAL low = k[LOW], high = k[HIGH], avg_decay = k[AVG_DECAY], avg_gain = k[AVG_GAIN];
    const REAL from_avg = k[FROM_AVG], from_gradient = k[FROM_GRADIENT];
    for (ptrdiff_t i = 0; i < n; i++) {
        REAL g = gain * gradient[i] + l2 * x[i];
        REAL scale = 1;
        if (terms & (EXP_AVG_SQ | ABSOLUTE)) {
            REAL second = 0;
            if (terms & EXP_AVG_SQ)
                second = exp_avg_sq[i] = sq_decay * exp_avg_sq[i] + sq_gain * g * g;
            if (terms & ABSOLUTE)
                second = (g < 0 ? -g : g) + abs_floor;
            if (terms & MAX_SQ) {
                const REAL kept = max_decay * max_sq[i];
                second = max_sq[i] = (second > kept) | (second != second) ? second : kept;
            }
            if (terms & GRAD_AVG) {
                grad_avg[i] = sq_decay * grad_avg[i] + grad_avg_gain * g;
                second = second - grad_avg[i] * grad_avg[i];
            }
            scale = (REAL)1 / (root * (terms & ABSOLUTE ? second : SQRT(second)) + floor_);
            if (terms & CLIP) {
                scale = scale < low ? low : scale;
                scale = scale > high ? high : scale;
            }
        }
        if (terms & FIRST) {
            g = g * scale;
            scale = 1;
        }
        REAL step = from_gradient * g;
        const REAL before = terms & EXP_AVG ? exp_avg[i] : 0;
        if (terms & EXP_AVG)
            exp_avg[i] = avg_decay * exp_avg[i] + avg_gain * g;
        if (terms & SIGNED) {
            const REAL direction = from_avg * before + step;
            step = direction != direction ? direction : sign_lr * (REAL)((direction > 0) - (direction < 0));
        } else if (terms & EXP_AVG) {
            step = from_avg * exp_avg[i] + step;
        }
        x[i] = shrink * x[i] - scale * step;
    }
}

/* One step of `members` rows of n contiguous elements; k is [members, FIELDS] and gain [members]: a row whose
 * gain is negative is left as it is. Buffers may be NULL where no member needs them. */
static void UPDATE(ptrdiff_t members, ptrdiff_t n, REAL *x, const REAL *gradient, REAL *exp_avg, REAL *exp_avg_sq,
            REAL *grad_avg, REAL *max_sq, const REAL *k, const REAL *gain, int decays)
{
    for (ptrdiff_t row = 0; row < members; row++, k += FIELDS) {
        if (gain[row] < 0)
            continue;
        const int terms = (exp_avg && k[AVG_GAIN] != 0 ? EXP_AVG : 0) |
                          (exp_avg_sq && k[SQ_GAIN] != 0 ? EXP_AVG_SQ : 0) |
                          (grad_avg && k[GRAD_AVG_GAIN] != 0 ? GRAD_AVG : 0) | (max_sq && k[MAX_DECAY] != 0 ? MAX_SQ : 0) |
                          (k[LOW] > -INFINITY || k[HIGH] < INFINITY ? CLIP : 0) |
                          (k[SCALE_FIRST] != 0 ? FIRST : 0) | (k[ABS_GAIN] != 0 ? ABSOLUTE : 0) |
                          (k[SIGN] != 0 ? SIGNED : 0);
        const ptrdiff_t o = row * n;
#define AT(base) ((base) ? (base) + o : NULL)
#define DO(T) ROW(n, x + o, gradient + o, AT(exp_avg), AT(exp_avg_sq), AT(grad_avg), AT(max_sq), k, gain[row], decays, T)
#define CASE(T) case T: DO(T); break;
        switch (terms) {
        CASE(EXP_AVG | EXP_AVG_SQ)           /* adam, adamw, nadam, radam */
        CASE(EXP_AVG | EXP_AVG_SQ | MAX_SQ)  /* amsgrad */
        CASE(EXP_AVG | EXP_AVG_SQ | CLIP)    /* adabound */
        CASE(EXP_AVG | ABSOLUTE | MAX_SQ)    /* adamax */
        CASE(EXP_AVG | SIGNED)               /* lion */
        CASE(0)                              /* sgd */
        CASE(EXP_AVG)                        /* sgd with momentum */
        CASE(EXP_AVG_SQ)                     /* rmsprop, then centered, then with momentum */
        CASE(EXP_AVG_SQ | GRAD_AVG)
        CASE(EXP_AVG_SQ | EXP_AVG | FIRST)
        CASE(EXP_AVG_SQ | GRAD_AVG | EXP_AVG | FIRST)
        default: DO(terms);
        }
#undef CASE
#undef DO
#undef AT
    }
}

/* The same for `parts` tensors of one population: n, decays and every pointer hold one entry each. */
void UPDATE_ALL(ptrdiff_t parts, ptrdiff_t members, const ptrdiff_t *n, const int *decays, REAL *const *x,
                const REAL *const *gradient, REAL *const *exp_avg, REAL *const *exp_avg_sq, REAL *const *grad_avg,
                REAL *const *max_sq, const REAL *k, const REAL *gain)
{
    for (ptrdiff_t i = 0; i < parts; i++)
        UPDATE(members, n[i], x[i], gradient[i], exp_avg[i], exp_avg_sq[i], grad_avg[i], max_sq[i], k, gain, decays[i]);
}

/* The scale of each member's gradient, and the factor that limits its norm over all parts to k[CLIP_NORM]. */
void CLIP_ALL(ptrdiff_t parts, ptrdiff_t members, const ptrdiff_t *n, const REAL *const *gradient, const REAL *k,
              const REAL *scale, REAL *gain)
{
    for (ptrdiff_t row = 0; row < members; row++, k += FIELDS) {
        gain[row] = scale[row];
        if (!(k[CLIP_NORM] < INFINITY) || scale[row] < 0)
            continue;
        /* Several sums, so that the additions need not wait for each other; double, so that none overflows. */
        double sums[LANES] = {0};
        for (ptrdiff_t i = 0; i < parts; i++) {
            const REAL *g = gradient[i] + row * n[i];
            ptrdiff_t at = 0;
            for (; at + LANES <= n[i]; at += LANES)
                for (int lane = 0; lane < LANES; lane++)
                    sums[lane] += (double)g[at + lane] * g[at + lane];
            for (int lane = 0; at < n[i]; at++, lane++)
                sums[lane] += (double)g[at] * g[at];
        }
        double sum = 0;
        for (int lane = 0; lane < LANES; lane++)
            sum += sums[lane];
        const REAL factor = k[CLIP_NORM] / ((REAL)sqrt(sum) * scale[row] + (REAL)1e-6);
        gain[row] *= factor > 1 ? 1 : factor;
    }
}
#endif
