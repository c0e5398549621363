/* source [all, ...] of any type, whose rows may overlap, index [rows] -> rows [rows, ...] = source[index];
 * returns 1 if an index is out of range */
int take(ARGUMENTS)
{
    const char *source = t[0];
    const int64_t *index = t[1];
    char *rows = t[2];
    const size all = n[0], count = n[1], bytes = n[2], apart = n[3];
    for (size i = 0; i < count; i++, rows += bytes) {
        if (index[i] < 0 || index[i] >= all)
            return 1;
        memcpy(rows, source + index[i] * apart, bytes);
    }
    return 0;
}

/* rows [rows, ...] of any type, index [rows] -> target [all, ...], where target[index] = rows; returns 1 if an index
 * is out of range */
int put(ARGUMENTS)
{
    const char *rows = t[0];
    const int64_t *index = t[1];
    char *target = t[2];
    const size all = n[0], count = n[1], bytes = n[2];
    for (size i = 0; i < count; i++, rows += bytes) {
        if (index[i] < 0 || index[i] >= all)
            return 1;
        memcpy(target + index[i] * bytes, rows, bytes);
    }
    return 0;
}

/* index [n] -> index + 1 */
int next(ARGUMENTS)
{
    const int64_t *index = t[0];
    int64_t *following = t[1];
    for (size i = 0; i < n[0]; i++) following[i] = index[i] + 1;
    return 0;
}
