/* Images [images, height, width, channels] with margins around them, and patches [images, rows, columns, down,
 * across, channels]: for each pixel of the convolution's output, the pixels that it is computed from. */
struct windows {
    size height, width, channels, down, across, rows, columns, margin_down, margin_across, step_down, step_across;
};

/* Whether the images are their own patches: those of a window of one pixel. */
static inline int are_patches(const struct windows w)
{
    return w.down * w.across == 1 && w.rows == w.height && w.columns == w.width;
}

static inline size padded_size(const struct windows w)
{
    return (w.height + 2 * w.margin_down) * (w.width + 2 * w.margin_across) * w.channels;
}

/* Copies the images, one after the other, into `padded`, and from there into patches. */
static inline void cut_patches(const struct windows w, size images, const real *x, real *padded, real *patches)
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
                    const real *from = padded + (y * w.step_down + down) * line + x_ * w.step_across * w.channels;
                    for (size j = 0; j < run; j++) patches[j] = from[j];
                }
    }
}

/* The gradient of `cut_patches`: each pixel of x is the sum of its copies in all patches. */
static inline void add_patches(const struct windows w, size images, const real *patches, real *padded, real *x)
{
    const size line = (w.width + 2 * w.margin_across) * w.channels, inner = w.width * w.channels;
    const size side = w.margin_across * w.channels, run = w.across * w.channels;
    for (size image = 0; image < images; image++) {
        memset(padded, 0, sizeof(real) * padded_size(w));
        for (size y = 0; y < w.rows; y++)
            for (size x_ = 0; x_ < w.columns; x_++)
                for (size down = 0; down < w.down; down++, patches += run) {
                    real *to = padded + (y * w.step_down + down) * line + x_ * w.step_across * w.channels;
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
    const struct windows w = {n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11], n[12], n[13], n[14]}; \
    const size area = w.down * w.across, seen = area * w.channels, pixels = w.rows * w.columns;              \
    const size block = n[15], image = w.height * w.width * w.channels, direct = are_patches(w);              \
    const int activation = (int)n[16];                                                                       \
    /* Patches of images that all members share are cut once, for the inner loop over members. */                 \
    const size shared = stride == 0, outer = shared ? 1 : members, inner = shared ? members : 1;

/* x [members or shared, images, height, width, channels], weight [members, out, channels, down, across],
 * bias [members, out] or none
 * -> y [members, images, rows, columns, out], GELU's arguments, of y's shape; scratch */
int convolution(ARGUMENTS)
{
    WINDOWS
    const real *x = t[0], *weight = t[1], *bias = t[2];
    real *y = t[3], *kept = t[4], *padded = t[5];
    real *patches = padded + padded_size(w), *kernels = patches + block * pixels * seen;
    channels_last(members * out, w.channels, area, weight, kernels);
    for (size m = 0; m < outer; m++, x += stride)
        for (size at = 0; at < images; at += block) {
            const size some = least(block, images - at);
            const real *windows = direct ? x + at * image : patches;
            if (!direct)
                cut_patches(w, some, x + at * image, padded, patches);
            for (size k = m; k < m + inner; k++) {
                real *to = y + (k * images + at) * pixels * out;
                product(0, 1, some * pixels, out, seen, windows, seen, kernels + k * out * seen, seen, 0, to, out);
                finish(activation, some * pixels, out, bias ? bias + k * out : bias, to,
                       activation == GELU ? kept + (k * images + at) * pixels * out : 0);
            }
        }
    return 0;
}

/* gradient [members, images, rows, columns, out], x, weight, what the activation's backward pass needs
 * -> gradients by x (if n[17]), by weight, by bias; scratch */
int convolution_backward(ARGUMENTS)
{
    WINDOWS
    const real *gradient = t[0], *x = t[1], *weight = t[2], *kept = t[3];
    real *by_x = t[4], *by_weight = t[5], *by_bias = t[6], *padded = t[7];
    real *patches = padded + padded_size(w), *by_patches = patches + block * pixels * seen;
    real *kernels = by_patches + block * pixels * seen, *by_kernels = kernels + members * out * seen;
    real *scratch = by_kernels + members * out * seen;
    const size needs_x = n[17];
    memset(by_bias, 0, sizeof(real) * members * out);
    channels_last(members * out, w.channels, area, weight, kernels);
    for (size m = 0; m < outer; m++, x += stride)
        for (size at = 0; at < images; at += block) {
            const size some = least(block, images - at);
            const real *windows = direct ? x + at * image : patches;
            if (!direct)
                cut_patches(w, some, x + at * image, padded, patches);
            for (size k = m; k < m + inner; k++) {
                const size place = (k * images + at) * pixels * out, own = k * out * seen;
                const real *g = before_activation(activation, some * pixels * out, gradient + place,
                                                  kept + place, scratch);
                product(1, 0, out, seen, some * pixels, g, out, windows, seen, at > 0, by_kernels + own, seen);
                add_rows(some * pixels, out, g, by_bias + k * out);
                if (needs_x) {
                    real *to = by_x + (k * images + at) * image;
                    product(0, 0, some * pixels, seen, out, g, out, kernels + own, seen, 0, direct ? to : by_patches,
                            seen);
                    if (!direct)
                        add_patches(w, some, by_patches, padded, to);
                }
            }
        }
    channels_first(members * out, w.channels, area, by_kernels, by_weight);
    return 0;
}
