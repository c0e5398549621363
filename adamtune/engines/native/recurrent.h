/* Recurrent layers: all times of a sequence in one call. The products with the inputs have been made for all times;
 * what is left for each time is the product with the state before it, and the cell's elementwise equations, which are
 * those of torch.nn.LSTM, GRU and RNN. */

enum { LSTM, GRU, RNN_TANH, RNN_RELU }; /* cells, numbered as in recurrent_kernels.py */

#define SEQUENCES                                                                                            \
    const size members = n[0], times = n[1], batch = n[2], hidden = n[3], reverse = n[5];                    \
    const int cell = (int)n[4];                                                                              \
    const size wide = (cell == LSTM ? 4 : cell == GRU ? 3 : 1) * hidden; /* of all gates */                  \
    const size keep = cell == LSTM || cell == GRU ? 4 * hidden : 0, state = batch * hidden;

/* One row of a cell: x and u [gates, hidden] are the products with the input and with the state h_, c_ before it.
 * `kept` gets what the backward pass needs: an LSTM's gates, or a GRU's gates and the product for its third. */
static inline void cell_row(int cell, size hidden, const real *restrict x, const real *restrict u,
                            const real *restrict h_, const real *restrict c_, real *restrict h, real *restrict c,
                            real *restrict kept)
{
    const size two = 2 * hidden, three = 3 * hidden;
    if (cell == LSTM)
        SIMD for (size j = 0; j < hidden; j++) {
            const real in = sigmoid(x[j] + u[j]), forget = sigmoid(x[hidden + j] + u[hidden + j]);
            const real new = hyperbolic_tangent(x[two + j] + u[two + j]), out = sigmoid(x[three + j] + u[three + j]);
            c[j] = forget * c_[j] + in * new;
            h[j] = out * hyperbolic_tangent(c[j]);
            kept[j] = in, kept[hidden + j] = forget, kept[two + j] = new, kept[three + j] = out;
        }
    else if (cell == GRU)
        SIMD for (size j = 0; j < hidden; j++) {
            const real reset = sigmoid(x[j] + u[j]), update = sigmoid(x[hidden + j] + u[hidden + j]);
            const real new = hyperbolic_tangent(x[two + j] + reset * u[two + j]);
            h[j] = new + update * (h_[j] - new);
            kept[j] = reset, kept[hidden + j] = update, kept[two + j] = new, kept[three + j] = u[two + j];
        }
    else if (cell == RNN_TANH)
        SIMD for (size j = 0; j < hidden; j++) h[j] = hyperbolic_tangent(x[j] + u[j]);
    else
        SIMD for (size j = 0; j < hidden; j++) h[j] = x[j] + u[j] < 0 ? 0 : x[j] + u[j];
}

/* The gradients of x and u, from those of h and c, which become the part of those of h_ and c_ that does not go
 * through u. by_u may be by_x, but for a GRU. */
static inline void cell_row_backward(int cell, size hidden, const real *restrict kept, const real *restrict h_,
                                     const real *restrict c_, const real *restrict h, const real *restrict c,
                                     real *restrict by_h, real *restrict by_c, real *restrict by_x, real *restrict by_u)
{
    const size two = 2 * hidden, three = 3 * hidden;
    if (cell == LSTM)
        SIMD for (size j = 0; j < hidden; j++) {
            const real in = kept[j], forget = kept[hidden + j], new = kept[two + j], out = kept[three + j];
            const real tangent = hyperbolic_tangent(c[j]), all = by_c[j] + by_h[j] * out * (1 - tangent * tangent);
            by_x[j] = all * new * in * (1 - in);
            by_x[hidden + j] = all * c_[j] * forget * (1 - forget);
            by_x[two + j] = all * in * (1 - new * new);
            by_x[three + j] = by_h[j] * tangent * out * (1 - out);
            by_c[j] = all * forget, by_h[j] = 0;
        }
    else if (cell == GRU)
        SIMD for (size j = 0; j < hidden; j++) {
            const real reset = kept[j], update = kept[hidden + j], new = kept[two + j], product = kept[three + j];
            const real by_new = by_h[j] * (1 - update) * (1 - new * new);
            by_x[j] = by_u[j] = by_new * product * reset * (1 - reset);
            by_x[hidden + j] = by_u[hidden + j] = by_h[j] * (h_[j] - new) * update * (1 - update);
            by_x[two + j] = by_new, by_u[two + j] = by_new * reset;
            by_h[j] *= update;
        }
    else
        SIMD for (size j = 0; j < hidden; j++) {
            by_x[j] = cell == RNN_TANH ? by_h[j] * (1 - h[j] * h[j]) : h[j] > 0 ? by_h[j] : 0;
            by_h[j] = 0;
        }
}

/* inputs [members, times, batch, gates * hidden], weight [members, gates * hidden, hidden], bias [members, gates *
 * hidden] or none, first states h and c (LSTM) [members, batch, hidden]
 * -> h, c (LSTM) [members, times, batch, hidden], what the backward pass needs [members, times, batch, 4 * hidden];
 * scratch */
int recurrent(ARGUMENTS)
{
    SEQUENCES
    const real *x = t[0], *weight = t[1], *bias = t[2], *h0 = t[3], *c0 = t[4];
    real *h = t[5], *c = t[6], *kept = t[7], *turned = t[8], *products = turned + hidden * wide;
    for (size m = 0; m < members; m++, weight += wide * hidden, h0 += state, c0 += c0 ? state : 0) {
        for (size i = 0; i < wide; i++)
            for (size j = 0; j < hidden; j++) turned[j * wide + i] = weight[i * hidden + j];
        const real *h_ = h0, *c_ = c0;
        for (size time = 0; time < times; time++) {
            const size at = (m * times + (reverse ? times - 1 - time : time)) * batch;
            product(0, 0, batch, wide, hidden, h_, hidden, turned, wide, 0, products, wide);
            finish(NONE, batch, wide, bias ? bias + m * wide : bias, products, 0);
            for (size i = 0; i < batch; i++)
                cell_row(cell, hidden, x + (at + i) * wide, products + i * wide, h_ + i * hidden, c_ + i * hidden,
                         h + (at + i) * hidden, c + (at + i) * hidden, kept + (at + i) * keep);
            h_ = h + at * hidden;
            c_ = cell == LSTM ? c + at * hidden : c_;
        }
    }
    return 0;
}

/* gradients of h and of c or none, weight, h0, c0, h, c, kept
 * -> gradients by inputs, by weight, by bias, by h0, by c0; scratch: a GRU's gradients of the products with h */
int recurrent_backward(ARGUMENTS)
{
    SEQUENCES
    const real *by_h = t[0], *by_c = t[1], *weight = t[2], *h0 = t[3], *c0 = t[4], *h = t[5], *c = t[6], *kept = t[7];
    real *by_x = t[8], *by_weight = t[9], *by_bias = t[10], *by_h0 = t[11], *by_c0 = t[12], *scratch = t[13];
    memset(by_bias, 0, sizeof(real) * members * wide);
    memset(by_h0, 0, sizeof(real) * members * state);
    if (cell == LSTM)
        memset(by_c0, 0, sizeof(real) * members * state);
    for (size m = 0; m < members; m++) {
        const size first = m * times * batch, edge = (reverse ? times - 1 : 0) * batch, part = reverse ? 0 : batch;
        real *u = cell == GRU ? scratch : by_x + first * wide; /* gradients of the products with h */
        for (size time = times; time-- > 0;) {
            const size own = (reverse ? times - 1 - time : time) * batch, at = first + own;
            const size before = (reverse ? at + batch : at - batch) * hidden;
            const real *h_ = time ? h + before : h0, *c_ = time ? c + before : c0;
            SIMD for (size i = 0; i < state; i++) by_h0[i] += by_h[at * hidden + i];
            if (by_c)
                SIMD for (size i = 0; i < state; i++) by_c0[i] += by_c[at * hidden + i];
            for (size i = 0; i < batch; i++)
                cell_row_backward(cell, hidden, kept + (at + i) * keep, h_ + i * hidden, c_ + i * hidden,
                                  h + (at + i) * hidden, c + (at + i) * hidden, by_h0 + i * hidden, by_c0 + i * hidden,
                                  by_x + (at + i) * wide, u + (own + i) * wide);
            product(0, 0, batch, hidden, wide, u + own * wide, wide, weight, hidden, 1, by_h0, hidden);
        }
        /* Every state but the first is an h of the time before. */
        product(1, 0, wide, hidden, batch, u + edge * wide, wide, h0, hidden, 0, by_weight, hidden);
        product(1, 0, wide, hidden, (times - 1) * batch, u + part * wide, wide,
                h + (first + batch - part) * hidden, hidden, 1, by_weight, hidden);
        add_rows(times * batch, wide, u, by_bias);
        weight += wide * hidden, by_weight += wide * hidden, by_bias += wide, h0 += state, by_h0 += state;
        c0 += cell == LSTM ? state : 0, by_c0 += cell == LSTM ? state : 0;
    }
    return 0;
}
#undef SEQUENCES
