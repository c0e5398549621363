/* x [members or shared, rows, in], weight [members, out, in], bias [members, out] or none
 * -> y [members, rows, out], GELU's arguments, of y's shape */
int linear(ARGUMENTS)
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
    return 0;
}

/* gradient [members, rows, out], x, weight, what the activation's backward pass needs
 * -> gradients by x (if n[7]), by weight, by bias; scratch */
int linear_backward(ARGUMENTS)
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
    return 0;
}
