/* y [channels] = the greatest pixel of a window, by channel. */
static inline void greatest_pixel(size line, size channels, size down, size across, const real *window, real *y)
{
    for (size c = 0; c < channels; c++) y[c] = window[c];
    for (size p = 1; p < down * across; p++) {
        const real *other = window + p / across * line + p % across * channels;
        SIMD for (size c = 0; c < channels; c++)
            y[c] = (other[c] > y[c]) | (other[c] != other[c]) ? other[c] : y[c];
    }
}

/* x [images, height, width, channels] -> y [images, height / down, width / across, channels] */
int max_pool(ARGUMENTS)
{
    const real *x = t[0];
    real *y = t[1];
    const size images = n[0], height = n[1], width = n[2], channels = n[3], down = n[4], across = n[5];
    const size line = width * channels;
    for (size image = 0; image < images; image++, x += height * line)
        for (size i = 0; i + down <= height; i += down)
            for (size j = 0; j + across <= width; j += across, y += channels)
                greatest_pixel(line, channels, down, across, x + i * line + j * channels, y);
    return 0;
}

/* gradient, x -> gradient by x: that of a window goes to the first of its greatest pixels; `left` is the
 * gradient that no pixel of the window has yet */
int max_pool_backward(ARGUMENTS)
{
    const real *gradient = t[0], *x = t[1];
    real *by_x = t[2], *left = t[3], *y = left + n[3];
    const size images = n[0], height = n[1], width = n[2], channels = n[3], down = n[4], across = n[5];
    const size line = width * channels;
    if (height % down || width % across)
        memset(by_x, 0, sizeof(real) * images * height * line);
    for (size image = 0; image < images; image++, x += height * line, by_x += height * line)
        for (size i = 0; i + down <= height; i += down)
            for (size j = 0; j + across <= width; j += across, gradient += channels) {
                greatest_pixel(line, channels, down, across, x + i * line + j * channels, y);
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
    return 0;
}
