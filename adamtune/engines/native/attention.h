enum { ALL, LOWER_LEFT, UPPER_LEFT, LOWER_RESULT }; /* the part of a product that is computed */

typedef real lanes __attribute__((vector_size(64), aligned(sizeof(real))));
typedef real half_lanes __attribute__((vector_size(32), aligned(sizeof(real))));
typedef real quarter_lanes __attribute__((vector_size(16), aligned(sizeof(real))));
#define TILE 8
/* The columns of c from j on, as long as a whole vector of the type `kind` fits. */
#define COLUMNS(kind, tall)                                                                                 \
    for (const size step = sizeof(kind) / sizeof(real); j < wide && j + step <= n; j += step) {             \
        kind sum[TILE] = {{0}};                                                                             \
        for (size k = from; k < to; k++) {                                                                  \
            const kind row = *(const kind *)(b + k * bk + j);                                               \
            UNROLLED for (size l = 0; l < tall; l++) sum[l] += a[(i + l) * ai + k * ak] * row;              \
        }                                                                                                   \
        UNROLLED for (size l = 0; l < tall; l++) *(kind *)(c + (i + l) * ci + j) = sum[l];                  \
    }

/* c [m, n] = a * b for small matrices, with a[i * ai + k * ak], b and c in row-major order. Of a causal product
 * only a part is computed:
 * LOWER_LEFT: a[i, k] = 0 for k > i; UPPER_LEFT: for k < i; LOWER_RESULT: c[i, j] for j <= i alone. */
static __attribute__((noinline)) void small_product(
    int part, size m, size n, size inner, const real *a, size ai, size ak, const real *b, size bk,
    real *c, size ci)
{
    for (size i = 0; i < m; i += TILE) {
        const size tall = least(TILE, m - i);
        const size from = part == UPPER_LEFT ? i : 0;
        const size to = part == LOWER_LEFT ? least(i + tall, inner) : inner;
        const size wide = part == LOWER_RESULT ? least(i + tall, n) : n;
        size j = 0;
        if (tall == TILE) {
            COLUMNS(lanes, TILE)
            COLUMNS(half_lanes, TILE)
            COLUMNS(quarter_lanes, TILE)
        } else {
            COLUMNS(lanes, tall)
            COLUMNS(half_lanes, tall)
            COLUMNS(quarter_lanes, tall)
        }
        for (; j < wide; j++)
            for (size l = i; l < i + tall; l++) {
                real sum = 0;
                for (size k = from; k < to; k++) sum += a[l * ai + k * ak] * b[k * bk + j];
                c[l * ci + j] = sum;
            }
    }
}

/* to [columns, rows] = from [rows, columns], transposed. */
static inline void transpose(size rows, size columns, const real *from, size stride, real *to)
{
    for (size j = 0; j < columns; j++)
        for (size i = 0; i < rows; i++) to[j * rows + i] = from[i * stride + j];
}

#define HEADS                                                                                                \
    const size members = n[0], batch = n[1], heads = n[2], length = n[3], width = n[4], causal = n[5];       \
    const real scale = (real)r[0];
#define EACH_HEAD                                                                                            \
    for (size m = 0; m < members; m++)                                                                       \
        for (size b = 0; b < batch; b++)                                                                     \
            for (size h = 0; h < heads; h++)
/* The current head of a tensor [members, batch, heads, length, width] with these strides; that of the last
 * dimension is 1. */
#define HEAD(tensor, strides) ((tensor) + m * (strides)[0] + b * (strides)[1] + h * (strides)[2])
/* The current head of a contiguous tensor [members, batch, length, heads, width]. */
#define OWN(tensor) ((tensor) + (((m * batch + b) * length) * heads + h) * width)
#define PRODUCT(part, ...)                                                                                   \
    (causal ? small_product(part, __VA_ARGS__) : small_product(ALL, __VA_ARGS__))

/* query, key, value [members, batch, heads, length, width], strided
 * -> y [members, batch, length, heads, width], weights [members, batch, heads, length, length]; scratch */
int attention(ARGUMENTS)
{
    HEADS
    const real *query = t[0], *key = t[1], *value = t[2];
    real *y = t[3], *p = t[4], *key_columns = t[5];
    EACH_HEAD {
        const size *const qs = n + 6, *const ks = n + 10, *const vs = n + 14;
        transpose(length, width, HEAD(key, ks), ks[3], key_columns);
        PRODUCT(LOWER_RESULT, length, length, width, HEAD(query, qs), qs[3], 1, key_columns, length, p, length);
        for (size i = 0; i < length; i++) {
            real *const row = p + i * length;
            const size seen = causal ? i + 1 : length;
            const size whole = least((seen + LANES - 1) / LANES * LANES, length);
            real *const last = row + (seen - 1) / LANES * LANES;
            const int left = (int)(row + seen - last);
            if (last + LANES <= row + length)
                SIMD for (int j = 0; j < LANES; j++) last[j] = j < left ? last[j] : -INFINITY;
            else
                for (size j = seen; j < whole; j++) row[j] = -INFINITY;
            const real part = 1 / exponentials(whole, row, greatest(whole, row), scale, row);
            SIMD for (size j = 0; j < whole; j++) row[j] *= part;
            for (size j = whole; j < length; j++) row[j] = 0;
        }
        PRODUCT(LOWER_LEFT, length, width, length, p, length, 1, HEAD(value, vs), vs[3], OWN(y), heads * width);
        p += length * length;
    }
    return 0;
}

/* gradient, query, key, value, all strided, weights -> the gradients by query, key and value in one tensor, with
 * strides, n[26] numbers from one to the next; scratch */
int attention_backward(ARGUMENTS)
{
    HEADS
    const real *gradient = t[0], *query = t[1], *key = t[2], *value = t[3], *p = t[4];
    real *by_query = t[5], *s = t[6], *value_columns = s + length * length;
    const size *const gs = n + 6, *const qs = n + 10, *const ks = n + 14, *const vs = n + 18, *const os = n + 22;
    real *by_key = by_query + n[26], *by_value = by_key + n[26];
    EACH_HEAD {
        const real *const g = HEAD(gradient, gs);
        transpose(length, width, HEAD(value, vs), vs[3], value_columns);
        PRODUCT(LOWER_RESULT, length, length, width, g, gs[3], 1, value_columns, length, s, length);
        for (size i = 0; i < length; i++) {
            real *const row = s + i * length;
            const real *const weights = p + i * length;
            const size seen = causal ? i + 1 : length;
            real along = 0;
            SIMD_SUM(along) for (size j = 0; j < seen; j++) along += row[j] * weights[j];
            SIMD for (size j = 0; j < seen; j++) row[j] = (row[j] - along) * weights[j] * scale;
            for (size j = seen; j < length; j++) row[j] = 0;
        }
        PRODUCT(LOWER_LEFT, length, width, length, s, length, 1, HEAD(key, ks), ks[3], HEAD(by_query, os), os[3]);
        PRODUCT(UPPER_LEFT, length, width, length, s, 1, length, HEAD(query, qs), qs[3], HEAD(by_key, os), os[3]);
        PRODUCT(UPPER_LEFT, length, width, length, p, 1, length, g, gs[3], HEAD(by_value, os), os[3]);
        p += length * length;
    }
    return 0;
}
