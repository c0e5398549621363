/* Arithmetic on two tensors, element by element, equal to torch's to the last bit. */

enum { ADD, SUBTRACT, MULTIPLY, DIVIDE, CUBE, THRESHOLD, AT_LEAST, AT_MOST }; /* numbered as in elementwise.py */

static inline __attribute__((always_inline)) real combined(const int operation, real x, real y, real limit)
{
    return operation == ADD        ? x + y
           : operation == SUBTRACT ? x - y
           : operation == MULTIPLY ? x * y
           : operation == DIVIDE   ? x / y
           : operation == CUBE     ? x * x * x
           : operation == AT_LEAST ? (y > x ? y : x)
           : operation == AT_MOST  ? (y < x ? y : x)
                                   : (y <= limit ? 0 : x);
}

/* One row: `count` elements of z, x and y, which lie a, b and c apart. */
static inline __attribute__((always_inline)) void combine_row(
    const int operation, size count, real *z, size a, const real *x, size b, const real *y, size c, real limit)
{
    if (a == 1 && b == 1 && c == 1)
        SIMD for (size i = 0; i < count; i++) z[i] = combined(operation, x[i], y[i], limit);
    else if (a == 1 && b == 1 && c == 0)
        SIMD for (size i = 0; i < count; i++) z[i] = combined(operation, x[i], *y, limit);
    else if (a == 1 && b == 0 && c == 1)
        SIMD for (size i = 0; i < count; i++) z[i] = combined(operation, *x, y[i], limit);
    else
        for (size i = 0; i < count; i++) z[i * a] = combined(operation, x[i * b], y[i * c], limit);
}

/* d: for each dimension its size, and the strides of z, x and y */
static inline __attribute__((always_inline)) void combine(
    const int operation, size dims, const size *d, real *z, const real *x, const real *y, real limit)
{
    size at[8] = {0}, i;
    const size *row = d + 4 * (dims - 1);
    for (;;) {
        combine_row(operation, row[0], z, row[1], x, row[2], y, row[3], limit);
        for (i = dims - 2; i >= 0; i--) { /* the next row: outer dimensions count as the digits of a number do */
            z += d[4 * i + 1], x += d[4 * i + 2], y += d[4 * i + 3];
            if (++at[i] < d[4 * i])
                break;
            z -= at[i] * d[4 * i + 1], x -= at[i] * d[4 * i + 2], y -= at[i] * d[4 * i + 3];
            at[i] = 0;
        }
        if (i < 0)
            return;
    }
}

/* x, y -> z; n: the operation, the number of dimensions (1 to 8), and d; r: the limit of THRESHOLD */
int elementwise(ARGUMENTS)
{
#define CASE(operation)                                                                                      \
    case operation: combine(operation, n[1], n + 2, t[2], t[0], t[1], (real)r[0]); return 0
    switch (n[0]) {
        CASE(ADD);
        CASE(SUBTRACT);
        CASE(MULTIPLY);
        CASE(DIVIDE);
        CASE(CUBE);
        CASE(THRESHOLD);
        CASE(AT_LEAST);
        CASE(AT_MOST);
    }
#undef CASE
    return 1;
}
