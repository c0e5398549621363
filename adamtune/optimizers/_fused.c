/* The elementwise pass of coefficients.py as one loop over each member's row.
 *
 * Compile with -ffp-contract=off and without -ffast-math: every operation is rounded on its own,
 * as in the torch implementation. The file includes itself once for each type.
 */
#ifndef REAL
#include <math.h>
#include <stddef.h>

enum { L2, SQUARE_DECAY, SQUARE_GAIN, MEAN_GAIN, PEAK_KEEP, ROOT, FLOOR, LOW, HIGH, EARLY_ON,
       BUFFER_DECAY, BUFFER_GAIN, SHRINK, FROM_BUFFER, FROM_GRADIENT, FIELDS };
enum { BUFFER = 1, SQUARE = 2, MEAN = 4, PEAK = 8, CLIP = 16, EARLY = 32 };

const int adamtune_fields = FIELDS;

#define REAL float
#define SQRT sqrtf
#define ROW row_float
#define UPDATE update_float
#define UPDATE_ALL adamtune_update_float
#include "_fused.c"
#undef REAL
#undef SQRT
#undef ROW
#undef UPDATE
#undef UPDATE_ALL
#define REAL double
#define SQRT sqrt
#define ROW row_double
#define UPDATE update_double
#define UPDATE_ALL adamtune_update_double
#include "_fused.c"

#else

/* Inlined with constant `terms`, so that the loop has no branch and becomes vector code. */
static inline __attribute__((always_inline)) void ROW(
    ptrdiff_t n, REAL *restrict x, const REAL *restrict gradient, REAL *restrict buffer,
    REAL *restrict square, REAL *restrict mean, REAL *restrict peak, const REAL *restrict k, const int terms)
{
    const REAL l2 = k[L2], square_decay = k[SQUARE_DECAY], square_gain = k[SQUARE_GAIN];
    const REAL mean_gain = k[MEAN_GAIN], peak_keep = k[PEAK_KEEP], root = k[ROOT], floor_ = k[FLOOR];
    const REAL low = k[LOW], high = k[HIGH], buffer_decay = k[BUFFER_DECAY], buffer_gain = k[BUFFER_GAIN];
    const REAL shrink = k[SHRINK], from_buffer = k[FROM_BUFFER], from_gradient = k[FROM_GRADIENT];
    for (ptrdiff_t i = 0; i < n; i++) {
        REAL g = gradient[i] + l2 * x[i];
        REAL scale = 1;
        if (terms & SQUARE) {
            REAL second = square[i] = square_decay * square[i] + square_gain * g * g;
            if (terms & PEAK) {
                const REAL kept = peak_keep * peak[i];
                second = peak[i] = (second > kept) | (second != second) ? second : kept;
            }
            if (terms & MEAN) {
                mean[i] = square_decay * mean[i] + mean_gain * g;
                second = second - mean[i] * mean[i];
            }
            scale = (REAL)1 / (root * SQRT(second) + floor_);
            if (terms & CLIP) {
                scale = scale < low ? low : scale;
                scale = scale > high ? high : scale;
            }
        }
        if (terms & EARLY) {
            g = g * scale;
            scale = 1;
        }
        REAL step = from_gradient * g;
        if (terms & BUFFER) {
            buffer[i] = buffer_decay * buffer[i] + buffer_gain * g;
            step = from_buffer * buffer[i] + step;
        }
        x[i] = shrink * x[i] - scale * step;
    }
}

/* One step of `members` rows of n contiguous elements; k is [members, FIELDS]. Buffers may be NULL
 * where no member needs them. */
static void UPDATE(ptrdiff_t members, ptrdiff_t n, REAL *x, const REAL *gradient, REAL *buffer, REAL *square,
            REAL *mean, REAL *peak, const REAL *k)
{
    for (ptrdiff_t row = 0; row < members; row++, k += FIELDS) {
        const int terms = (buffer && k[BUFFER_GAIN] != 0 ? BUFFER : 0) |
                          (square && k[SQUARE_GAIN] != 0 ? SQUARE : 0) |
                          (mean && k[MEAN_GAIN] != 0 ? MEAN : 0) | (peak && k[PEAK_KEEP] != 0 ? PEAK : 0) |
                          (k[LOW] > -INFINITY || k[HIGH] < INFINITY ? CLIP : 0) |
                          (k[EARLY_ON] != 0 ? EARLY : 0);
        const ptrdiff_t o = row * n;
#define AT(base) ((base) ? (base) + o : NULL)
#define DO(T) ROW(n, x + o, gradient + o, AT(buffer), AT(square), AT(mean), AT(peak), k, T)
#define CASE(T) case T: DO(T); break;
        switch (terms) {
        CASE(BUFFER | SQUARE)         /* adam, adamw, nadam, radam */
        CASE(BUFFER | SQUARE | PEAK)  /* amsgrad */
        CASE(BUFFER | SQUARE | CLIP)  /* adabound */
        CASE(0)                       /* sgd */
        CASE(BUFFER)                  /* sgd with momentum */
        CASE(SQUARE)                  /* rmsprop, then centered, then with momentum */
        CASE(SQUARE | MEAN)
        CASE(SQUARE | BUFFER | EARLY)
        CASE(SQUARE | MEAN | BUFFER | EARLY)
        default: DO(terms);
        }
#undef CASE
#undef DO
#undef AT
    }
}

/* The same for `parts` tensors of one population: n and every pointer hold one entry each. */
void UPDATE_ALL(ptrdiff_t parts, ptrdiff_t members, const ptrdiff_t *n, REAL *const *x,
                const REAL *const *gradient, REAL *const *buffer, REAL *const *square, REAL *const *mean,
                REAL *const *peak, const REAL *k)
{
    for (ptrdiff_t i = 0; i < parts; i++)
        UPDATE(members, n[i], x[i], gradient[i], buffer[i], square[i], mean[i], peak[i], k);
}
#endif
