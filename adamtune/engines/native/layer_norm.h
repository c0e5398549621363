/* x [members, rows, width], weight and bias [members, width] -> y, and each row's mean and 1 / deviation */
int layer_norm(ARGUMENTS)
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
    return 0;
}

/* gradient, x, weight, means, scales -> gradients by x, by weight, by bias */
int layer_norm_backward(ARGUMENTS)
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
    return 0;
}
