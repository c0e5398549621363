/* Functions that several kernels share: activations, exponentials, maxima and sums, in either precision. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __AVX512F__
#pragma GCC target("prefer-vector-width=512")
#endif

#ifdef DOUBLE
typedef double real;
#define LOG log
#define SQRT sqrt
#else
typedef float real;
#define LOG logf
#define SQRT sqrtf
#endif
typedef ptrdiff_t size;

#define LANES ((int)(64 / sizeof(real))) /* numbers of the widest vector */

/* e^x for x <= 0 is (1 + *rest) * the returned power of two. Written without branches, so that loops over it become
 * vector code. */
#ifdef DOUBLE
static inline double exponential_parts(double x, double *rest)
{
    const double shifted = x * 1.4426950408889634 + 6755399441055744.0;
    const double n = shifted - 6755399441055744.0;
    const double r = (x - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6;
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    uint64_t bits;
    double power;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;
    memcpy(&power, &bits, sizeof power);
    *rest = x < -708.0 ? 0.0 : p * r * r + r;
    return x != x ? x : x < -708.0 ? 0.0 : power;
}
#else
/* Coefficients from Cephes (Moshier, 1989). */
static inline float exponential_parts(float x, float *rest)
{
    const float shifted = x * 1.44269504f + 12582912.0f; /* rounds to the nearest integer */
    const float n = shifted - 12582912.0f;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    uint32_t bits;
    float power;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;
    memcpy(&power, &bits, sizeof power);
    *rest = x < -87.3f ? 0.0f : p * r * r + r;
    return x != x ? x : x < -87.3f ? 0.0f : power;
}
#endif

/* e^x for x <= 0. */
static inline real exponential(real x)
{
    real rest;
    const real power = exponential_parts(x, &rest);
    return (rest + 1) * power;
}

static inline real sigmoid(real x)
{
    const real power = exponential(x < 0 ? x : -x);
    return (x < 0 ? power : 1) / (1 + power);
}

/* By e^-2|x| - 1, whose parts do not cancel. */
static inline real hyperbolic_tangent(real x)
{
    real rest;
    const real power = exponential_parts(x < 0 ? 2 * x : -2 * x, &rest);
    const real less = rest * power + (power - 1), positive = -less / (2 + less);
    return x < 0 ? -positive : positive;
}

/* The standard normal distribution function: the probability of a value below x. */
#ifdef DOUBLE
static inline double normal_cdf(double x) { return 0.5 * erfc(x * -0.7071067811865476); }
#else
/* By a rational approximation of the error function, that of Eigen (generic_fast_erf_float). */
static inline float normal_cdf(float x)
{
    float z = x * 0.70710678f;
    z = z < -4.0f ? -4.0f : z;
    z = z > 4.0f ? 4.0f : z;
    const float s = z * z;
    float p = -2.72614225801306e-10f, q = -1.45660718464996e-05f;
    p = p * s + 2.77068142495902e-08f;
    p = p * s - 2.10102402082508e-06f;
    p = p * s - 5.69250639462346e-05f;
    p = p * s - 7.34990630326855e-04f;
    p = p * s - 2.95459980854025e-03f;
    p = p * s - 1.60960333262415e-02f;
    q = q * s - 2.13374055278905e-04f;
    q = q * s - 1.68282697438203e-03f;
    q = q * s - 7.37332916720468e-03f;
    q = q * s - 1.42647390514189e-02f;
    return 0.5f + 0.5f * z * (p / q);
}
#endif

static inline size least(size a, size b) { return a < b ? a : b; }

enum { NONE, RELU, GELU }; /* activations, numbered as in kernels.py */

#define ARGUMENTS void *const *t, const size *n, const double *r __attribute__((unused))
#define PRAGMA(text) _Pragma(#text)
#define SIMD PRAGMA(omp simd)
#define SIMD_MOST(variable) PRAGMA(omp simd reduction(max : variable))
#define SIMD_SUM(...) PRAGMA(omp simd reduction(+ : __VA_ARGS__))

/* Adds the bias to y [rows, width] and applies the activation, in place; `kept` gets the arguments of GELU. */
static inline void finish(int activation, size rows, size width, const real *bias, real *y, real *kept)
{
    for (size i = 0; i < rows; i++, y += width) {
        if (bias)
            SIMD for (size j = 0; j < width; j++) y[j] += bias[j];
        if (activation == RELU)
            SIMD for (size j = 0; j < width; j++) y[j] = y[j] < 0 ? 0 : y[j];
        if (activation == GELU) {
            SIMD for (size j = 0; j < width; j++) {
                kept[j] = y[j];
                y[j] = y[j] * normal_cdf(y[j]);
            }
            kept += width;
        }
    }
}

/* The gradient of an activation's arguments, from that of its results and from `kept`: ReLU's results, or GELU's
 * arguments. It is written to `result`; without activation, it is `gradient` itself. */
static inline const real *before_activation(int activation, size count, const real *gradient, const real *kept,
                                            real *result)
{
    if (activation == NONE)
        return gradient;
    if (activation == RELU)
        SIMD for (size i = 0; i < count; i++) result[i] = kept[i] > 0 ? gradient[i] : 0;
    if (activation == GELU)
        SIMD for (size i = 0; i < count; i++) {
            const real x = kept[i], density = exponential(x * x * (real)-0.5) * (real)0.3989422804014327;
            result[i] = gradient[i] * (normal_cdf(x) + x * density);
        }
    return result;
}

/* sum [width] += the sum of the rows of x [rows, width]. */
static inline void add_rows(size rows, size width, const real *x, real *sum)
{
    for (size i = 0; i < rows; i++, x += width)
        SIMD for (size j = 0; j < width; j++) sum[j] += x[j];
}

/* The greatest of n numbers. Like the next function it works in whole vectors, whatever n is: a compiler would
 * compute the numbers past the last whole vector one by one. */
static inline real greatest(size n, const real *x)
{
    real most_[LANES], found = x[0];
    size j = 0;
    SIMD for (int l = 0; l < LANES; l++) most_[l] = found;
    for (; j + LANES <= n; j += LANES)
        SIMD for (int l = 0; l < LANES; l++) most_[l] = x[j + l] > most_[l] ? x[j + l] : most_[l];
    for (; j < n; j++) found = x[j] > found ? x[j] : found;
    SIMD_MOST(found) for (int l = 0; l < LANES; l++) found = most_[l] > found ? most_[l] : found;
    return found;
}

/* y = e^((x - high) * scale), where high is the greatest x; returns their sum. */
static inline real exponentials(size n, const real *x, real high, real scale, real *y)
{
    real sums[LANES] = {0}, total = 0, end[LANES];
    size j = 0;
    for (; j + LANES <= n; j += LANES)
        SIMD for (int l = 0; l < LANES; l++) sums[l] += y[j + l] = exponential((x[j + l] - high) * scale);
    if (j < n) {
        SIMD for (int l = 0; l < LANES; l++) end[l] = -INFINITY;
        memcpy(end, x + j, sizeof(real) * (n - j));
        SIMD for (int l = 0; l < LANES; l++) sums[l] += end[l] = exponential((end[l] - high) * scale);
        memcpy(y + j, end, sizeof(real) * (n - j));
    }
    SIMD_SUM(total) for (int l = 0; l < LANES; l++) total += sums[l];
    return total;
}
