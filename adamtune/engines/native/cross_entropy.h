/* logits [members, rows, classes], target and share [members or shared, rows]; a row's share is its weight in the
 * loss -> losses [members], probabilities of the logits' shape; returns 1 if a target is out of range */
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

/* gradient [members], probabilities, target, share -> gradient by logits */
int cross_entropy_backward(ARGUMENTS)
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
    return 0;
}
