/* Kernels: layers of neural networks for all members at once, in blocks that fit in a core's cache.
 *
 * Tensors are contiguous, with members first, unless strides are given; images have their channels last. Every
 * kernel has one signature: t, the memory of the tensors, first the arguments, then the results; n, whole numbers;
 * r, real numbers. It returns 0, or 1 if an index is out of range. The comment above each kernel lists arguments
 * -> results. The file is compiled once for float and once for double (DOUBLE).
 */
#include "common.h"
#include "product.h"
#include "linear.h"
#include "convolution.h"
#include "max_pool.h"
#include "layer_norm.h"
#include "normalise.h"
#include "cross_entropy.h"
#include "mse_loss.h"
#include "embedding.h"
#include "attention.h"
#include "recurrent.h"
#include "rows.h"
#include "elementwise.h"
#include "program.h"
