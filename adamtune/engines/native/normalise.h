/* Normalisation by channel: each number minus a mean, divided by a deviation, both over the rows of a set and over
 * `joined` adjacent channels. Batch normalisation has one set a member and joins no channels; group normalisation has
 * a set an image and joins the channels of a group.
 *
 * Rows are short where channels are few. So loops run over several rows at a time, `wide` numbers, and what belongs to
 * a channel is repeated as often. */

#define SETS                                                                                                 \
    const size members = n[0], sets = n[1], rows = n[2], channels = n[3], joined = n[4], wide = n[5];        \
    const size all = rows * channels;                                                                        \
    const real share = (real)1 / (rows * joined);

/* For each j < some: the numbers at + j of a set, `wide` of them at a time. */
#define EACH(...)                                                                                            \
    for (size at = 0; at < all; at += wide) {                                                                \
        const size some = least(wide, all - at);                                                             \
        SIMD for (size j = 0; j < some; j++) { __VA_ARGS__; }                                                \
    }

/* Repeats the first `channels` numbers. */
static inline void repeat(size channels, size wide, real *values)
{
    for (size j = channels; j < wide; j++) values[j] = values[j - channels];
}

/* The sum of each channel's repetitions, in the first `channels` numbers. */
static inline void fold(size channels, size wide, real *sums)
{
    for (size at = channels; at < wide; at += channels)
        for (size j = 0; j < channels; j++) sums[j] += sums[at + j];
}

/* In place of each of `joined` adjacent numbers, their sum times `share`. */
static inline void join(size channels, size joined, real share, real *values)
{
    for (size c = 0; c < channels; c += joined) {
        real sum = 0;
        for (size j = c; j < c + joined; j++) sum += values[j];
        for (size j = c; j < c + joined; j++) values[j] = sum * share;
    }
}

/* x [members, sets, rows, channels], weight and bias [members, channels]
 * -> y, of x's shape; means, 1 / deviations and variances [members, sets, channels]; scratch [3, wide] */
int normalise(ARGUMENTS)
{
    SETS
    const real *x = t[0], *weight = t[1], *bias = t[2];
    real *y = t[3], *means = t[4], *scales = t[5], *variances = t[6];
    real *mean = t[7], *factor = mean + wide, *added = factor + wide;
    for (size s = 0; s < members * sets; s++, x += all, y += all) {
        const size place = s * channels, own = s / sets * channels;
        memset(mean, 0, sizeof(real) * wide);
        EACH(mean[j] += x[at + j])
        fold(channels, wide, mean);
        join(channels, joined, share, mean);
        repeat(channels, wide, mean);
        memset(factor, 0, sizeof(real) * wide);
        EACH(const real apart = x[at + j] - mean[j]; factor[j] += apart * apart)
        fold(channels, wide, factor);
        join(channels, joined, share, factor);
        for (size c = 0; c < channels; c++) {
            const real scale = 1 / SQRT(factor[c] + (real)r[0]);
            means[place + c] = mean[c], variances[place + c] = factor[c], scales[place + c] = scale;
            factor[c] = scale * weight[own + c], added[c] = bias[own + c];
        }
        repeat(channels, wide, factor);
        repeat(channels, wide, added);
        EACH(y[at + j] = (x[at + j] - mean[j]) * factor[j] + added[j])
    }
    return 0;
}

/* gradient, x, weight, means, 1 / deviations
 * -> gradients by x, by weight, by bias; scratch [4, wide] */
int normalise_backward(ARGUMENTS)
{
    SETS
    const real *gradient = t[0], *x = t[1], *weight = t[2], *means = t[3], *scales = t[4];
    real *by_x = t[5], *by_weight = t[6], *by_bias = t[7];
    real *mean = t[8], *factor = mean + wide, *sum = factor + wide, *along = sum + wide;
    memset(by_weight, 0, sizeof(real) * members * channels);
    memset(by_bias, 0, sizeof(real) * members * channels);
    for (size s = 0; s < members * sets; s++, gradient += all, x += all, by_x += all) {
        const size place = s * channels, own = s / sets * channels;
        memcpy(mean, means + place, sizeof(real) * channels);
        repeat(channels, wide, mean);
        memset(sum, 0, sizeof(real) * 2 * wide);
        EACH(sum[j] += gradient[at + j]; along[j] += gradient[at + j] * (x[at + j] - mean[j]))
        fold(channels, wide, sum);
        fold(channels, wide, along);
        for (size c = 0; c < channels; c++) {
            const real scale = scales[place + c];
            by_bias[own + c] += sum[c];
            by_weight[own + c] += along[c] * scale;
            factor[c] = weight[own + c] * scale;
            sum[c] *= factor[c], along[c] *= factor[c] * scale * scale;
        }
        /* Mean and variance of the result are fixed, so the gradient has no part along either. */
        join(channels, joined, share, sum);
        join(channels, joined, share, along);
        repeat(channels, wide, factor);
        repeat(channels, wide, sum);
        repeat(channels, wide, along);
        EACH(by_x[at + j] = gradient[at + j] * factor[j] - sum[j] - (x[at + j] - mean[j]) * along[j])
    }
    return 0;
}
#undef SETS
#undef EACH
