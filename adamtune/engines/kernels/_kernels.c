/* Layers of neural networks for many members at once, in passes that stay in a core's cache.
 *
 * Tensors have members first and are contiguous, images with their channels last, unless strides are
 * given. Every kernel has one signature: the tensors' memory, then whole numbers, then real ones.
 * Compiled once for each type: DOUBLE says which. A kernel that returns a number returns 0 if all is well.
 */
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

#define LANES ((int)(64 / sizeof(real))) /* numbers that a core may work on at once */

/* BLAS's matrix product, from the library that torch itself uses. */
typedef void gemm_type(const char *, const char *, const int *, const int *, const int *, const real *,
                       const real *, const int *, const real *, const int *, const real *, real *, const int *);
static gemm_type *gemm;

void use_gemm(void *function) { gemm = (gemm_type *)function; }

/* e^x for x <= 0: e^r * 2^n with |r| <= ln(2) / 2. Written without branches, so that loops over it become
 * vector code. */
#ifdef DOUBLE
static inline double exponential(double x)
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
    p = p * r * r + r + 1.0;
    uint64_t bits;
    double power;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;
    memcpy(&power, &bits, sizeof power);
    p = x < -708.0 ? 0.0 : p * power;
    return x != x ? x : p;
}
#else
/* Coefficients from Cephes (Moshier, 1989). */
static inline float exponential(float x)
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
    p = p * r * r + r + 1.0f;
    uint32_t bits;
    float power;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;
    memcpy(&power, &bits, sizeof power);
    p = x < -87.3f ? 0.0f : p * power;
    return x != x ? x : p;
}
#endif

/* The part of a normal distribution below x. */
#ifdef DOUBLE
static inline double normal_cdf(double x) { return 0.5 * erfc(x * -0.7071067811865476); }
#else
/* The error function as a rational one, as in Eigen (generic_fast_erf_float). */
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

enum { NONE, RELU, GELU }; /* activations */
enum { ALL, LOWER_LEFT, UPPER_LEFT, LOWER_RESULT }; /* which part of a triangular product is needed */

#define ARGUMENTS void *const *t, const size *n, const double *r __attribute__((unused))
#define PRAGMA(text) _Pragma(#text)
#define SIMD PRAGMA(omp simd)
#define SIMD_MOST(variable) PRAGMA(omp simd reduction(max : variable))
#define SIMD_SUM(...) PRAGMA(omp simd reduction(+ : __VA_ARGS__))

/* c [m, n] = a [m, k] * b [k, n] + keep * c, all by rows; `ta` and `tb` say that a or b lies transposed. */
static inline void product(int ta, int tb, size m, size n, size k, const real *a, size lda,
                                  const real *b, size ldb, real keep, real *c, size ldc)
{
    const int im = (int)m, in = (int)n, ik = (int)k, ia = (int)lda, ib = (int)ldb, ic = (int)ldc;
    const real one = 1;
    gemm(tb ? "T" : "N", ta ? "T" : "N", &in, &im, &ik, &one, b, &ib, a, &ia, &keep, c, &ic);
}

/* y + bias, or what an activation makes of it; what GELU was given is kept. */
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

/* The gradient of what the activation was given: `kept` is ReLU's result, or what GELU was given. The
 * gradient itself where there was no activation. */
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

static inline void add_rows(size rows, size width, const real *x, real *sum)
{
    for (size i = 0; i < rows; i++, x += width)
        SIMD for (size j = 0; j < width; j++) sum[j] += x[j];
}

/* Over rows of any length in whole vectors: left to itself, a compiler computes odd ends one by one. */
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

/* x [members or shared, rows, in], weight [members, out, in], bias [members, out] or none
 * -> y [members, rows, out], and what GELU was given, like y */
void linear(ARGUMENTS)
{
    const real *x = t[0], *weight = t[1], *bias = t[2];
    real *y = t[3], *kept = t[4];
    const size members = n[0], rows = n[1], in = n[2], out = n[3], stride = n[4], block = n[5];
    const int activation = (int)n[6];
    for (size m = 0; m < members; m++, x += stride, weight += out * in)
        for (size at = 0; at < rows; at += block) {
            const size some = least(block, rows - at), place = (m * rows + at) * out;
            product(0, 1, some, out, in, x + at * in, in, weight, in, 0, y + place, out);
            finish(activation, some, out, bias ? bias + m * out : bias, y + place,
                   activation == GELU ? kept + place : 0);
        }
}

/* gradient [members, rows, out], x, weight, what the activation kept
 * -> by x (if asked for), by weight, by bias; scratch */
void linear_backward(ARGUMENTS)
{
    const real *gradient = t[0], *x = t[1], *weight = t[2], *kept = t[3];
    real *by_x = t[4], *by_weight = t[5], *by_bias = t[6], *scratch = t[7];
    const size members = n[0], rows = n[1], in = n[2], out = n[3], stride = n[4], block = n[5], needs_x = n[7];
    const int activation = (int)n[6];
    memset(by_bias, 0, sizeof(real) * members * out);
    for (size m = 0; m < members; m++, x += stride, weight += out * in, by_weight += out * in, by_bias += out)
        for (size at = 0; at < rows; at += block) {
            const size some = least(block, rows - at), place = (m * rows + at) * out;
            const real *g = before_activation(activation, some * out, gradient + place, kept + place, scratch);
            if (needs_x)
                product(0, 0, some, in, out, g, out, weight, in, 0, by_x + (m * rows + at) * in, in);
            product(1, 0, out, in, some, g, out, x + at * in, in, at > 0, by_weight, in);
            add_rows(some, out, g, by_bias);
        }
}

/* x [members, rows, width], weight and bias [members, width] -> y, and each row's mean and 1 / deviation */
void layer_norm(ARGUMENTS)
{
    const real *x = t[0], *weight = t[1], *bias = t[2];
    real *y = t[3], *means = t[4], *scales = t[5];
    const size members = n[0], rows = n[1], width = n[2];
    for (size m = 0; m < members; m++, weight += width, bias += width)
        for (size i = 0; i < rows; i++, x += width, y += width) {
            real sum = 0, squares = 0;
            SIMD_SUM(sum) for (size j = 0; j < width; j++) sum += x[j];
            const real mean = sum / width;
            SIMD_SUM(squares) for (size j = 0; j < width; j++) squares += (x[j] - mean) * (x[j] - mean);
            const real scale = 1 / SQRT(squares / width + (real)r[0]);
            SIMD for (size j = 0; j < width; j++) y[j] = (x[j] - mean) * scale * weight[j] + bias[j];
            *means++ = mean, *scales++ = scale;
        }
}

/* gradient, x, weight, means, scales -> by x, by weight, by bias */
void layer_norm_backward(ARGUMENTS)
{
    const real *gradient = t[0], *x = t[1], *weight = t[2], *means = t[3], *scales = t[4];
    real *by_x = t[5], *by_weight = t[6], *by_bias = t[7];
    const size members = n[0], rows = n[1], width = n[2];
    memset(by_weight, 0, sizeof(real) * members * width);
    memset(by_bias, 0, sizeof(real) * members * width);
    for (size m = 0; m < members; m++, weight += width, by_weight += width, by_bias += width)
        for (size i = 0; i < rows; i++, gradient += width, x += width, by_x += width) {
            const real mean = *means++, scale = *scales++;
            real sum = 0, along = 0;
            SIMD_SUM(sum, along) for (size j = 0; j < width; j++) {
                const real normal = (x[j] - mean) * scale, inner = gradient[j] * weight[j];
                sum += inner;
                along += inner * normal;
                by_weight[j] += gradient[j] * normal;
                by_bias[j] += gradient[j];
            }
            sum /= width, along /= width;
            SIMD for (size j = 0; j < width; j++)
                by_x[j] = (gradient[j] * weight[j] - sum - (x[j] - mean) * scale * along) * scale;
        }
}

/* logits [members, rows, classes], target and share [members or shared, rows]
 * -> losses [members], probabilities like the logits; 1 if a target is no class */
int cross_entropy(ARGUMENTS)
{
    const real *x = t[0], *shares = t[2];
    const int64_t *targets = t[1];
    real *losses = t[3], *p = t[4];
    const size members = n[0], rows = n[1], classes = n[2];
    for (size m = 0; m < members; m++, targets += n[3], shares += n[4]) {
        real loss = 0;
        for (size i = 0; i < rows; i++, x += classes, p += classes) {
            if (targets[i] < 0 || targets[i] >= classes)
                return 1;
            const real high = greatest(classes, x), total = exponentials(classes, x, high, 1, p);
            const real part = 1 / total;
            SIMD for (size j = 0; j < classes; j++) p[j] *= part;
            loss += (LOG(total) - (x[targets[i]] - high)) * shares[i];
        }
        losses[m] = loss;
    }
    return 0;
}

/* gradient [members], probabilities, target, share -> by logits */
void cross_entropy_backward(ARGUMENTS)
{
    const real *gradient = t[0], *p = t[1], *shares = t[3];
    const int64_t *targets = t[2];
    real *by_x = t[4];
    const size members = n[0], rows = n[1], classes = n[2];
    for (size m = 0; m < members; m++, targets += n[3], shares += n[4])
        for (size i = 0; i < rows; i++, p += classes, by_x += classes) {
            const real scale = gradient[m] * shares[i];
            SIMD for (size j = 0; j < classes; j++) by_x[j] = p[j] * scale;
            by_x[targets[i]] -= scale;
        }
}

/* weight [members, words, width], index [members or shared, rows] -> y [members, rows, width];
 * 1 if an index is of no word */
int embedding(ARGUMENTS)
{
    const real *weight = t[0];
    const int64_t *index = t[1];
    real *y = t[2];
    const size members = n[0], rows = n[1], words = n[2], width = n[3];
    for (size m = 0; m < members; m++, weight += words * width, index += n[4])
        for (size i = 0; i < rows; i++, y += width) {
            if (index[i] < 0 || index[i] >= words)
                return 1;
            memcpy(y, weight + index[i] * width, sizeof(real) * width);
        }
    return 0;
}

/* gradient [members, rows, width], index -> by weight [members, words, width] */
void embedding_backward(ARGUMENTS)
{
    const real *gradient = t[0];
    const int64_t *index = t[1];
    real *by_weight = t[2];
    const size members = n[0], rows = n[1], words = n[2], width = n[3];
    memset(by_weight, 0, sizeof(real) * members * words * width);
    for (size m = 0; m < members; m++, by_weight += words * width, index += n[4])
        for (size i = 0; i < rows; i++, gradient += width)
            add_rows(1, width, gradient, by_weight + index[i] * width);
}

/* Images [images, height, width, channels] with margins around them, and what each window of a
 * convolution sees of them: patches [images, rows, columns, window's rows, window's columns, channels]. */
struct windows {
    size height, width, channels, down, across, rows, columns, margin_down, margin_across;
};

static inline size padded_size(const struct windows w)
{
    return (w.height + 2 * w.margin_down) * (w.width + 2 * w.margin_across) * w.channels;
}

static inline void look(const struct windows w, size images, const real *x, real *padded,
                               real *patches)
{
    const size line = (w.width + 2 * w.margin_across) * w.channels, inner = w.width * w.channels;
    const size side = w.margin_across * w.channels, run = w.across * w.channels;
    memset(padded, 0, sizeof(real) * padded_size(w));
    for (size image = 0; image < images; image++) {
        for (size y = 0; y < w.height; y++, x += inner) {
            real *to = padded + (y + w.margin_down) * line + side;
            for (size j = 0; j < inner; j++) to[j] = x[j];
        }
        for (size y = 0; y < w.rows; y++)
            for (size x_ = 0; x_ < w.columns; x_++)
                for (size down = 0; down < w.down; down++, patches += run) {
                    const real *from = padded + (y + down) * line + x_ * w.channels;
                    for (size j = 0; j < run; j++) patches[j] = from[j];
                }
    }
}

/* The reverse: adds what each window says of its pixels. */
static inline void gather(const struct windows w, size images, const real *patches,
                                 real *padded, real *x)
{
    const size line = (w.width + 2 * w.margin_across) * w.channels, inner = w.width * w.channels;
    const size side = w.margin_across * w.channels, run = w.across * w.channels;
    for (size image = 0; image < images; image++) {
        memset(padded, 0, sizeof(real) * padded_size(w));
        for (size y = 0; y < w.rows; y++)
            for (size x_ = 0; x_ < w.columns; x_++)
                for (size down = 0; down < w.down; down++, patches += run) {
                    real *to = padded + (y + down) * line + x_ * w.channels;
                    SIMD for (size j = 0; j < run; j++) to[j] += patches[j];
                }
        for (size y = 0; y < w.height; y++, x += inner) {
            const real *from = padded + (y + w.margin_down) * line + side;
            for (size j = 0; j < inner; j++) x[j] = from[j];
        }
    }
}

/* Kernels [out, channels, down * across], as torch has them, to and from [out, down * across, channels]. */
static inline void channels_last(size out, size channels, size area, const real *from, real *to)
{
    for (size o = 0; o < out; o++, from += channels * area)
        for (size a = 0; a < area; a++)
            for (size c = 0; c < channels; c++) *to++ = from[c * area + a];
}

static inline void channels_first(size out, size channels, size area, const real *from, real *to)
{
    for (size o = 0; o < out; o++, from += channels * area)
        for (size c = 0; c < channels; c++)
            for (size a = 0; a < area; a++) *to++ = from[a * channels + c];
}

#define WINDOWS                                                                                              \
    const size members = n[0], images = n[1], out = n[2], stride = n[3];                                     \
    const struct windows w = {n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11], n[12]};               \
    const size area = w.down * w.across, seen = area * w.channels, pixels = w.rows * w.columns;              \
    const size block = n[13];                                                                                \
    const size shared = stride == 0, outer = shared ? 1 : members, inner = shared ? members : 1;

/* x [members or shared, images, height, width, channels], weight [members, out, channels, down, across],
 * bias [members, out] or none
 * -> y [members, images, rows, columns, out], and what GELU was given, like y; scratch */
void convolution(ARGUMENTS)
{
    WINDOWS
    const real *x = t[0], *weight = t[1], *bias = t[2];
    real *y = t[3], *kept = t[4], *padded = t[5];
    real *patches = padded + padded_size(w), *kernels = patches + block * pixels * seen;
    channels_last(members * out, w.channels, area, weight, kernels);
    for (size m = 0; m < outer; m++, x += stride)
        for (size at = 0; at < images; at += block) {
            const size some = least(block, images - at);
            look(w, some, x + at * w.height * w.width * w.channels, padded, patches);
            for (size k = m; k < m + inner; k++) {
                real *to = y + (k * images + at) * pixels * out;
                product(0, 1, some * pixels, out, seen, patches, seen, kernels + k * out * seen, seen,
                               0, to, out);
                finish((int)n[14], some * pixels, out, bias ? bias + k * out : bias, to,
                       n[14] == GELU ? kept + (k * images + at) * pixels * out : 0);
            }
        }
}

/* gradient [members, images, rows, columns, out], x, weight, what the activation kept
 * -> by x (if asked for), by weight, by bias; scratch */
void convolution_backward(ARGUMENTS)
{
    WINDOWS
    const real *gradient = t[0], *x = t[1], *weight = t[2], *kept = t[3];
    real *by_x = t[4], *by_weight = t[5], *by_bias = t[6], *padded = t[7];
    real *patches = padded + padded_size(w), *by_patches = patches + block * pixels * seen;
    real *kernels = by_patches + block * pixels * seen, *by_kernels = kernels + members * out * seen;
    real *scratch = by_kernels + members * out * seen;
    const size needs_x = n[15], image = w.height * w.width * w.channels;
    memset(by_bias, 0, sizeof(real) * members * out);
    channels_last(members * out, w.channels, area, weight, kernels);
    for (size m = 0; m < outer; m++, x += stride)
        for (size at = 0; at < images; at += block) {
            const size some = least(block, images - at);
            look(w, some, x + at * image, padded, patches);
            for (size k = m; k < m + inner; k++) {
                const size place = (k * images + at) * pixels * out, own = k * out * seen;
                const real *g = before_activation((int)n[14], some * pixels * out, gradient + place,
                                                  kept + place, scratch);
                product(1, 0, out, seen, some * pixels, g, out, patches, seen, at > 0, by_kernels + own, seen);
                add_rows(some * pixels, out, g, by_bias + k * out);
                if (needs_x) {
                    product(0, 0, some * pixels, seen, out, g, out, kernels + own, seen, 0, by_patches, seen);
                    gather(w, some, by_patches, padded, by_x + (k * images + at) * image);
                }
            }
        }
    channels_first(members * out, w.channels, area, by_kernels, by_weight);
}

/* x [images, height, width, channels] -> y [images, height / down, width / across, channels] */
void max_pool(ARGUMENTS)
{
    const real *x = t[0];
    real *y = t[1];
    const size images = n[0], height = n[1], width = n[2], channels = n[3], down = n[4], across = n[5];
    const size line = width * channels;
    for (size image = 0; image < images; image++, x += height * line)
        for (size i = 0; i + down <= height; i += down)
            for (size j = 0; j + across <= width; j += across, y += channels) {
                const real *window = x + i * line + j * channels;
                for (size c = 0; c < channels; c++) y[c] = window[c];
                for (size p = 1; p < down * across; p++) {
                    const real *other = window + p / across * line + p % across * channels;
                    SIMD for (size c = 0; c < channels; c++)
                        y[c] = (other[c] > y[c]) | (other[c] != other[c]) ? other[c] : y[c];
                }
            }
}

/* gradient, x, y -> by x: the gradient of a window goes to the first of its greatest pixels */
void max_pool_backward(ARGUMENTS)
{
    const real *gradient = t[0], *x = t[1], *y = t[2];
    real *by_x = t[3], *left = t[4];
    const size images = n[0], height = n[1], width = n[2], channels = n[3], down = n[4], across = n[5];
    const size line = width * channels;
    if (height % down || width % across)
        memset(by_x, 0, sizeof(real) * images * height * line);
    for (size image = 0; image < images; image++, x += height * line, by_x += height * line)
        for (size i = 0; i + down <= height; i += down)
            for (size j = 0; j + across <= width; j += across, gradient += channels, y += channels) {
                for (size c = 0; c < channels; c++) left[c] = gradient[c];
                for (size p = 0; p < down * across; p++) {
                    const size at = i * line + j * channels + p / across * line + p % across * channels;
                    SIMD for (size c = 0; c < channels; c++) {
                        const real here = x[at + c] == y[c] ? left[c] : 0;
                        by_x[at + c] = here;
                        left[c] = x[at + c] == y[c] ? 0 : left[c];
                    }
                }
            }
}

typedef real lanes __attribute__((vector_size(64), aligned(sizeof(real))));
typedef real half_lanes __attribute__((vector_size(32), aligned(sizeof(real))));
typedef real quarter_lanes __attribute__((vector_size(16), aligned(sizeof(real))));
#define TILE 8
/* As many columns of a product as there are whole vectors of a type. */
#define COLUMNS(vector, tall)                                                                                \
    for (const size step = sizeof(vector) / sizeof(real); j < wide && j + step <= n; j += step) {            \
        vector sum[TILE] = {{0}};                                                                            \
        for (size k = from; k < to; k++) {                                                                   \
            const vector row = *(const vector *)(b + k * bk + j);                                            \
            _Pragma("GCC unroll 8") for (size l = 0; l < tall; l++) sum[l] += a[(i + l) * ai + k * ak] * row; \
        }                                                                                                    \
        _Pragma("GCC unroll 8") for (size l = 0; l < tall; l++) *(vector *)(c + (i + l) * ci + j) = sum[l];  \
    }

/* c [m, n] = a * b for small matrices, a[i * ai + k * ak], b and c by rows; only the part that is needed:
 * LOWER_LEFT: a[i, k] = 0 for k > i; UPPER_LEFT: for k < i; LOWER_RESULT: c[i, j] for j <= i alone. */
static inline __attribute__((always_inline)) void small_product(
    const int part, size m, size n, size inner, const real *a, size ai, size ak, const real *b, size bk,
    real *c, size ci)
{
    for (size i = 0; i < m; i += TILE) {
        const size tall = least(TILE, m - i);
        const size from = part == UPPER_LEFT ? i : 0;
        const size to = part == LOWER_LEFT ? least(i + tall, inner) : inner;
        const size wide = part == LOWER_RESULT ? least(i + tall, n) : n;
        size j = 0;
        if (tall == TILE) {
            COLUMNS(lanes, TILE)
            COLUMNS(half_lanes, TILE)
            COLUMNS(quarter_lanes, TILE)
        } else {
            COLUMNS(lanes, tall)
            COLUMNS(half_lanes, tall)
            COLUMNS(quarter_lanes, tall)
        }
        for (; j < wide; j++)
            for (size l = i; l < i + tall; l++) {
                real sum = 0;
                for (size k = from; k < to; k++) sum += a[l * ai + k * ak] * b[k * bk + j];
                c[l * ci + j] = sum;
            }
    }
}

static inline void transpose(size rows, size columns, const real *from, size stride, real *to)
{
    for (size j = 0; j < columns; j++)
        for (size i = 0; i < rows; i++) to[j * rows + i] = from[i * stride + j];
}

#define HEADS                                                                                                \
    const size members = n[0], batch = n[1], heads = n[2], length = n[3], width = n[4], causal = n[5];       \
    const real scale = (real)r[0];
#define EACH_HEAD                                                                                            \
    for (size m = 0; m < members; m++)                                                                       \
        for (size b = 0; b < batch; b++)                                                                     \
            for (size h = 0; h < heads; h++)
/* Of a strided tensor [members, batch, heads, length, width]; strides of all but the last dimension. */
#define HEAD(tensor, strides) ((tensor) + m * (strides)[0] + b * (strides)[1] + h * (strides)[2])
/* Of one [members, batch, length, heads, width]. */
#define OWN(tensor) ((tensor) + (((m * batch + b) * length) * heads + h) * width)
#define PRODUCT(part, ...)                                                                                   \
    (causal ? small_product(part, __VA_ARGS__) : small_product(ALL, __VA_ARGS__))

/* query, key, value [members, batch, heads, length, width], strided
 * -> y [members, batch, length, heads, width], weights [members, batch, heads, length, length]; scratch */
void attention(ARGUMENTS)
{
    HEADS
    const real *query = t[0], *key = t[1], *value = t[2];
    real *y = t[3], *p = t[4], *key_columns = t[5];
    EACH_HEAD {
        const size *const qs = n + 6, *const ks = n + 10, *const vs = n + 14;
        transpose(length, width, HEAD(key, ks), ks[3], key_columns);
        PRODUCT(LOWER_RESULT, length, length, width, HEAD(query, qs), qs[3], 1, key_columns, length, p, length);
        for (size i = 0; i < length; i++) {
            real *const row = p + i * length;
            const size seen = causal ? i + 1 : length;
            const size whole = least((seen + LANES - 1) / LANES * LANES, length);
            real *const last = row + (seen - 1) / LANES * LANES;
            const int left = (int)(row + seen - last);
            if (last + LANES <= row + length)
                SIMD for (int j = 0; j < LANES; j++) last[j] = j < left ? last[j] : -INFINITY;
            else
                for (size j = seen; j < whole; j++) row[j] = -INFINITY;
            const real part = 1 / exponentials(whole, row, greatest(whole, row), scale, row);
            SIMD for (size j = 0; j < whole; j++) row[j] *= part;
            for (size j = whole; j < length; j++) row[j] = 0;
        }
        PRODUCT(LOWER_LEFT, length, width, length, p, length, 1, HEAD(value, vs), vs[3], OWN(y), heads * width);
        p += length * length;
    }
}

/* gradient, query, key, value, all strided, weights -> by query, by key, by value, one `apart` from the
 * other, strided; scratch */
void attention_backward(ARGUMENTS)
{
    HEADS
    const real *gradient = t[0], *query = t[1], *key = t[2], *value = t[3], *p = t[4];
    real *by_query = t[5], *s = t[6], *value_columns = s + length * length;
    const size *const gs = n + 6, *const qs = n + 10, *const ks = n + 14, *const vs = n + 18, *const os = n + 22;
    real *by_key = by_query + n[26], *by_value = by_key + n[26];
    EACH_HEAD {
        const real *const g = HEAD(gradient, gs);
        transpose(length, width, HEAD(value, vs), vs[3], value_columns);
        PRODUCT(LOWER_RESULT, length, length, width, g, gs[3], 1, value_columns, length, s, length);
        for (size i = 0; i < length; i++) {
            real *const row = s + i * length;
            const real *const weights = p + i * length;
            const size seen = causal ? i + 1 : length;
            real along = 0;
            SIMD_SUM(along) for (size j = 0; j < seen; j++) along += row[j] * weights[j];
            SIMD for (size j = 0; j < seen; j++) row[j] = (row[j] - along) * weights[j] * scale;
            for (size j = seen; j < length; j++) row[j] = 0;
        }
        PRODUCT(LOWER_LEFT, length, width, length, s, length, 1, HEAD(key, ks), ks[3], HEAD(by_query, os), os[3]);
        PRODUCT(UPPER_LEFT, length, width, length, s, 1, length, HEAD(query, qs), qs[3], HEAD(by_key, os), os[3]);
        PRODUCT(UPPER_LEFT, length, width, length, p, 1, length, g, gs[3], HEAD(by_value, os), os[3]);
        p += length * length;
    }
}
