/* weight [members, words, width], index [members or shared, rows] -> y [members, rows, width];
 * returns 1 if an index is out of range */
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

/* gradient [members, rows, width], index -> gradient by weight [members, words, width] */
int embedding_backward(ARGUMENTS)
{
    const real *gradient = t[0];
    const int64_t *index = t[1];
    real *by_weight = t[2];
    const size members = n[0], rows = n[1], words = n[2], width = n[3];
    memset(by_weight, 0, sizeof(real) * members * words * width);
    for (size m = 0; m < members; m++, by_weight += words * width, index += n[4])
        for (size i = 0; i < rows; i++, gradient += width)
            add_rows(1, width, gradient, by_weight + index[i] * width);
    return 0;
}
