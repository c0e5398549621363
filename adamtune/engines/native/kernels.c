/* Layers of neural networks for many members at once, in passes that stay in a core's cache.
 *
 * Tensors have members first and are contiguous, images with their channels last, unless strides are
 * given. Every kernel has one signature: the tensors' memory, then whole numbers, then real ones; it
 * returns 0 if all is well. Compiled once for each type: DOUBLE says which.
 */
#include "common.h"
#include "product.h"
#include "linear.h"
#include "convolution.h"
#include "max_pool.h"
#include "layer_norm.h"
#include "cross_entropy.h"
#include "mse_loss.h"
#include "embedding.h"
#include "attention.h"
#include "rows.h"

typedef int kernel(ARGUMENTS);

/* Calls kernels one after the other; 0, or the number of the one that failed, from 1. */
int run(size count, kernel *const *kernels, void *const *const *t, const size *const *n, const double *const *r)
{
    for (size i = 0; i < count; i++)
        if (kernels[i](t[i], n[i], r[i]))
            return (int)i + 1;
    return 0;
}
