/* x and target [members or shared, numbers] -> losses [members] */
int mse_loss(ARGUMENTS)
{
    const real *x = t[0], *target = t[1];
    real *losses = t[2];
    const size members = n[0], numbers = n[1];
    for (size m = 0; m < members; m++, x += n[2], target += n[3]) {
        real sum = 0;
        SIMD_SUM(sum) for (size i = 0; i < numbers; i++) sum += (x[i] - target[i]) * (x[i] - target[i]);
        losses[m] = sum / numbers;
    }
    return 0;
}

/* gradient [members], x, target -> gradient by x [members, numbers] */
int mse_loss_backward(ARGUMENTS)
{
    const real *gradient = t[0], *x = t[1], *target = t[2];
    real *by_x = t[3];
    const size members = n[0], numbers = n[1];
    for (size m = 0; m < members; m++, x += n[2], target += n[3], by_x += numbers) {
        const real scale = 2 * gradient[m] / numbers;
        SIMD for (size i = 0; i < numbers; i++) by_x[i] = scale * (x[i] - target[i]);
    }
    return 0;
}
