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

/* Copies the images, one after the other, into `padded`, and from there into the patches of `count` rows of the output
 * from row `top` on. `padded` has zeros at its margins; it keeps the image for later rows. */
static inline void cut_patches(const struct windows w, size images, size top, size count, const real *x, real *padded,
                               real *patches)
{
    const size line = (w.width + 2 * w.margin_across) * w.channels, inner = w.width * w.channels;
    const size side = w.margin_across * w.channels, run = w.across * w.channels;
    for (size image = 0; image < images; image++, x += w.height * inner) {
        for (size y = 0; y < (top ? 0 : w.height); y++) {
            real *to = padded + (y + w.margin_down) * line + side;
            for (size j = 0; j < inner; j++) to[j] = x[y * inner + j];
        }
        for (size y = top; y < top + count; y++)
            for (size x_ = 0; x_ < w.columns; x_++)
                for (size down = 0; down < w.down; down++, patches += run) {
                    const real *from = padded + (y * w.step_down + down) * line + x_ * w.step_across * w.channels;
                    for (size j = 0; j < run; j++) patches[j] = from[j];
                }
    }
}

/* The gradient of `cut_patches`: each pixel of x is the sum of its copies in all patches. The sums of an image are in
 * `padded` until its last row, which writes x. */
static inline void add_patches(const struct windows w, size images, size top, size count, const real *patches,
                               real *padded, real *x)
{
    const size line = (w.width + 2 * w.margin_across) * w.channels, inner = w.width * w.channels;
    const size side = w.margin_across * w.channels, run = w.across * w.channels;
    for (size image = 0; image < images; image++, x += w.height * inner) {
        if (!top)
            memset(padded, 0, sizeof(real) * padded_size(w));
        for (size y = top; y < top + count; y++)
            for (size x_ = 0; x_ < w.columns; x_++)
                for (size down = 0; down < w.down; down++, patches += run) {
                    real *to = padded + (y * w.step_down + down) * line + x_ * w.step_across * w.channels;
                    SIMD for (size j = 0; j < run; j++) to[j] += patches[j];
                }
        for (size y = 0; y < (top + count < w.rows ? 0 : w.height); y++) {
            const real *from = padded + (y + w.margin_down) * line + side;
            for (size j = 0; j < inner; j++) x[y * inner + j] = from[j];
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

/* The kernels as `product` reads them fastest: [panels, down * across * channels, PANEL], the outputs in panels. */
static inline void in_panels(size out, size channels, size area, const real *from, real *to)
{
    for (size o = 0; o < out; o += PANEL, from += PANEL * channels * area, to += PANEL * channels * area) {
        const size wide = least(PANEL, out - o);
        for (size c = 0; c < channels; c++)
            for (size a = 0; a < area; a++) {
                real *row = to + (a * channels + c) * PANEL;
                for (size j = 0; j < wide; j++) row[j] = from[(j * channels + c) * area + a];
                for (size j = wide; j < PANEL; j++) row[j] = 0;
            }
    }
}

#define WINDOWS                                                                                              \
    const size members = n[0], images = n[1], out = n[2], stride = n[3];                                     \
    const struct windows w = {n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11], n[12], n[13], n[14]};        \
    const size area = w.down * w.across, seen = area * w.channels, pixels = w.rows * w.columns;              \
    const size block = n[15], band = n[16], image = w.height * w.width * w.channels, direct = are_patches(w); \
    const int activation = (int)n[17];                                                                       \
    const size most = block * band * w.columns;

/* Blocks of `some` images, and of `count` rows of the output from row `top` on: several images as a whole, or a part
 * of one image. `place` is where the block's results begin in those of a member. */
#define BLOCKS                                                                                               \
    for (size at = 0; at < images; at += block)                                                              \
        for (size top = 0, some = least(block, images - at), count, lines, place; top < w.rows; top += band) \
            if (count = least(band, w.rows - top), lines = some * count * w.columns,                         \
                place = (at * pixels + top * w.columns) * out, 1)

/* x [members or shared, images, height, width, channels], weight [members, out, channels, down, across],
 * bias [members, out] or none
 * -> y [members, images, rows, columns, out], GELU's arguments, of y's shape; scratch */
int convolution(ARGUMENTS)
{
    WINDOWS
    const real *x = t[0], *weight = t[1], *bias = t[2];
    real *y = t[3], *kept = t[4], *padded = t[5], *patches = padded + padded_size(w), *kernels = patches + most * seen;
    /* One output is not put in panels, which would be nearly empty. Patches of images that all members share are cut
     * once, for the inner loop over members. */
    const size wide = out == 1 ? 1 : (out + PANEL - 1) / PANEL * PANEL, shared = stride == 0;
    for (size k = 0; k < members; k++)
        (out == 1 ? channels_last : in_panels)(out, w.channels, area, weight + k * out * seen, kernels + k * wide * seen);
    memset(padded, 0, sizeof(real) * padded_size(w));
    for (size m = 0; m < (shared ? 1 : members); m++, x += stride)
        BLOCKS {
            const real *windows = direct ? x + at * image + top * w.columns * seen : patches;
            if (!direct)
                cut_patches(w, some, top, count, x + at * image, padded, patches);
            for (size k = m; k < (shared ? members : m + 1); k++) {
                const size own = k * images * pixels * out + place;
                product(0, out == 1 ? 1 : PANELS, lines, out, seen, windows, seen, kernels + k * wide * seen, seen, 0,
                        y + own, out);
                finish(activation, lines, out, bias ? bias + k * out : bias, y + own,
                       activation == GELU ? kept + own : 0);
            }
        }
    return 0;
}

/* gradient [members, images, rows, columns, out], x, weight, what the activation's backward pass needs
 * -> gradients by x (if n[18]), by weight, by bias; scratch */
int convolution_backward(ARGUMENTS)
{
    WINDOWS
    const real *gradient = t[0], *x = t[1], *weight = t[2], *before = t[3];
    real *by_x = t[4], *by_weight = t[5], *by_bias = t[6], *padded = t[7], *sums = padded + padded_size(w);
    real *patches = sums + padded_size(w), *by_patches = patches + most * seen;
    real *kernels = by_patches + most * seen, *by_kernels = kernels + members * out * seen;
    real *scratch = by_kernels + members * out * seen;
    const size needs_x = n[18], shared = stride == 0 && !needs_x;
    memset(by_bias, 0, sizeof(real) * members * out);
    memset(padded, 0, sizeof(real) * padded_size(w));
    channels_last(members * out, w.channels, area, weight, kernels);
    for (size m = 0; m < (shared ? 1 : members); m++, x += stride)
        BLOCKS {
            const real *windows = direct ? x + at * image + top * w.columns * seen : patches;
            if (!direct)
                cut_patches(w, some, top, count, x + at * image, padded, patches);
            for (size k = m; k < (shared ? members : m + 1); k++) {
                const size own = k * images * pixels * out + place;
                const real *g = before_activation(activation, lines * out, gradient + own, before + own, scratch);
                product(1, 0, out, seen, lines, g, out, windows, seen, at || top, by_kernels + k * out * seen, seen);
                add_rows(lines, out, g, by_bias + k * out);
                if (needs_x) {
                    real *to = by_x + (k * images + at) * image;
                    product(0, 0, lines, seen, out, g, out, kernels + k * out * seen, seen, 0,
                            direct ? to + top * w.columns * seen : by_patches, seen);
                    if (!direct)
                        add_patches(w, some, top, count, by_patches, sums, to);
                }
            }
        }
    channels_first(members * out, w.channels, area, by_kernels, by_weight);
    return 0;
}
