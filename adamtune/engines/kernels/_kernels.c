/* Layers of neural networks for many members at once, in passes that stay in a core's cache.
 *
 * Tensors have members first and are contiguous, images with their channels last, unless strides are
 * given. Every kernel has one signature: the tensors' memory, then whole numbers, then real ones.
 * Compiled once for each type: DOUBLE says which. A kernel that returns a number returns 0 if all is well.
 */
#include "common.h"
#include "product.h"
#include "linear.h"
#include "convolution.h"
#include "max_pool.h"
#include "layer_norm.h"
#include "cross_entropy.h"
#include "embedding.h"
#include "attention.h"
