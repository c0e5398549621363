/* Matrix products of the sizes of small models. With 32 to 128 columns they run at a core's full speed, which a BLAS,
 * made for large products, does not reach. The scheme is that of Goto and van de Geijn (2008):
 * a tile of the result stays in registers while the inner dimension runs. */

#if defined(__AVX512F__)
#define VECTOR 64 /* bytes */
#define TALL 12   /* rows of a tile: its sums, two vectors a row, and their factors fill the registers */
#elif defined(__AVX__)
#define VECTOR 32
#define TALL 6
#else
#define VECTOR 16
#define TALL 6
#endif
typedef real vector __attribute__((vector_size(VECTOR), aligned(sizeof(real))));
typedef real octet __attribute__((vector_size(8 * sizeof(real)), aligned(sizeof(real))));
/* Numbers of a vector; columns that are packed together; the inner dimension that is summed at a time. */
enum { SPAN = VECTOR / sizeof(real), PANEL = 2 * SPAN, DEEP = 128 };
#define UNROLLED _Pragma("GCC unroll 16")

#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#elif defined(DOUBLE)
typedef int64_t places __attribute__((vector_size(64)));
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (places){__VA_ARGS__})
#else
typedef int32_t places __attribute__((vector_size(32)));
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (places){__VA_ARGS__})
#endif

/* Transposes 8 by 8 numbers. */
static inline void transpose_octets(const real *from, size stride, real *to, size to_stride)
{
    octet r[8], s[8];
    UNROLLED for (int i = 0; i < 8; i++) r[i] = *(const octet *)(from + i * stride);
    UNROLLED for (int i = 0; i < 8; i += 2) {
        s[i] = SHUFFLE(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        s[i + 1] = SHUFFLE(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    UNROLLED for (int i = 0; i < 8; i += 4)
        UNROLLED for (int j = 0; j < 2; j++) {
            r[i + 2 * j] = SHUFFLE(s[i + j], s[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            r[i + 2 * j + 1] = SHUFFLE(s[i + j], s[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    UNROLLED for (int i = 0; i < 4; i++) {
        *(octet *)(to + i * to_stride) = SHUFFLE(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        *(octet *)(to + (i + 4) * to_stride) = SHUFFLE(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

/* Copies `count` numbers, fewer than two vectors, in parts whose sizes are powers of two. */
static inline void copy_some(size count, const real *from, real *to)
{
    UNROLLED for (size part = SPAN; part; part /= 2)
        if (count & part) {
            memcpy(to, from, sizeof(real) * part);
            from += part, to += part;
        }
}

/* Copies b [deep, wide], or its transpose [wide, deep], to [deep, PANEL]; the remaining columns are zeros. */
static inline void pack(int transposed, size deep, size wide, const real *b, size stride, real *to)
{
    if (wide < PANEL)
        memset(to, 0, sizeof(real) * deep * PANEL);
    if (!transposed) {
        for (size k = 0; k < deep; k++) copy_some(wide, b + k * stride, to + k * PANEL);
        return;
    }
    size j = 0;
    for (; j + 8 <= wide; j += 8) {
        size k = 0;
        for (; k + 8 <= deep; k += 8) transpose_octets(b + j * stride + k, stride, to + k * PANEL + j, PANEL);
        for (; k < deep; k++)
            for (size l = j; l < j + 8; l++) to[k * PANEL + l] = b[l * stride + k];
    }
    for (; j < wide; j++)
        for (size k = 0; k < deep; k++) to[k * PANEL + j] = b[j * stride + k];
}

/* A tile of c = a * b, or of c + a * b if `keep`: `tall` rows of `across` vectors, the last one of `last` numbers. */
static inline __attribute__((always_inline)) void tile(
    const int tall, const int across, size deep, const real *a, size ai, size ak, const real *b, size bk,
    int keep, real *c, size ci, size last)
{
    vector sum[TALL][2];
    UNROLLED for (int i = 0; i < tall; i++) UNROLLED for (int v = 0; v < across; v++) sum[i][v] = (vector){0};
    for (size k = 0; k < deep; k++, a += ak, b += bk) {
        vector row[2];
        UNROLLED for (int v = 0; v < across; v++) row[v] = ((const vector *)b)[v];
        UNROLLED for (int i = 0; i < tall; i++)
            UNROLLED for (int v = 0; v < across; v++) sum[i][v] += a[i * ai] * row[v];
    }
    UNROLLED for (int i = 0; i < tall; i++, c += ci) {
        vector *const to = (vector *)c;
        UNROLLED for (int v = 0; v < across - 1; v++) to[v] = keep ? to[v] + sum[i][v] : sum[i][v];
        if (last == SPAN)
            to[across - 1] = keep ? to[across - 1] + sum[i][across - 1] : sum[i][across - 1];
        else {
            vector end = sum[i][across - 1], before = {0};
            if (keep)
                copy_some(last, c + (across - 1) * SPAN, (real *)&before);
            end += before;
            copy_some(last, (const real *)&end, c + (across - 1) * SPAN);
        }
    }
}

/* All rows of a panel of c, in tiles as tall as possible. */
static inline __attribute__((always_inline)) void tiles(
    const int across, size m, size deep, const real *a, size ai, size ak, const real *b, size bk, int keep, real *c,
    size ci, size last)
{
#define ROWS(tall)                                                                                           \
    for (; i + tall <= m; i += tall) tile(tall, across, deep, a + i * ai, ai, ak, b, bk, keep, c + i * ci, ci, last)
    size i = 0;
    ROWS(TALL);
#if TALL > 8
    ROWS(8);
#endif
    ROWS(4);
    ROWS(1);
#undef ROWS
}

enum { PANELS = 2 };

/* c [m, n] = a [m, k] * b [k, n], or c + a * b if `keep`, in row-major order; with `ta` or `tb`, the memory holds
 * the transpose of a or b. If `tb` is PANELS, it holds b as [columns / PANEL, k, PANEL], filled up with any numbers. */
static __attribute__((noinline)) void product(
    int ta, int tb, size m, size n, size k, const real *a, size lda, const real *b, size ldb, int keep, real *c,
    size ldc)
{
    const size ai = ta ? 1 : lda, ak = ta ? lda : 1;
    if (n == 1 && !ta && tb != PANELS && (tb || ldb == 1)) { /* a tile would be nearly empty */
        for (size i = 0; i < m; i++, a += lda, c += ldc) {
            real sum = keep ? *c : 0;
            SIMD_SUM(sum) for (size p = 0; p < k; p++) sum += a[p] * b[p];
            *c = sum;
        }
        return;
    }
    real packed[DEEP * PANEL] __attribute__((aligned(64)));
    for (size j = 0; j < n; j += PANEL) {
        size from = 0;
        do { /* at least once, so that c is written even if k is 0 */
            const size wide = least(PANEL, n - j), deep = least(DEEP, k - from);
            const real *panel = b + (tb == PANELS ? j * k + from * PANEL : tb ? j * ldb + from : from * ldb + j);
            size stride = tb == PANELS ? PANEL : ldb;
            /* A vector may read numbers of the next row, which are not used, but not past the end of b. */
            if (tb == 1 || tb != PANELS && (k - from - deep) * ldb + n - j < (wide > SPAN ? PANEL : SPAN)) {
                pack(tb, deep, wide, panel, ldb, packed);
                panel = packed, stride = PANEL;
            }
            if (wide > SPAN)
                tiles(2, m, deep, a + from * ak, ai, ak, panel, stride, keep || from, c + j, ldc, wide - SPAN);
            else
                tiles(1, m, deep, a + from * ak, ai, ak, panel, stride, keep || from, c + j, ldc, wide);
        } while ((from += DEEP) < k);
    }
}
