"""Training batches as a `tf.data.Dataset` that can start at any step.

B is the batch size, K the number of batches that one step takes, H W C an image.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfdm.datasets.order import batch_indices, check_least

_PREFETCHED_STEPS = 4


def train_batches(
    images: np.ndarray,
    *,
    batch_size: int,
    seed: int,
    start_step: int,
    num_steps: int,
    batches_per_step: int = 1,
) -> tf.data.Dataset:
    """Returns the batches of steps `start_step` to `start_step + num_steps - 1`.

    Element j is the batch of step t = start_step + j, counted from 0. With K > 1, step t takes the
    batches t K to t K + K - 1 of `batch_indices`, the k-th at `[:, k]`: the example axis stands
    first, so that a distribution strategy can split it.

    Args:
      images: uint8 [N, H, W, C], memory-mapped or not.
      batch_size: B, over all replicas.
      seed: the seed of the order.
      start_step, num_steps: the first step and the number of elements, at least 0.
      batches_per_step: K, 5 for a model with five critic updates a step.

    Returns:
      A prefetching dataset of known length and static shapes: uint8 [B, H, W, C], or
      [B, K, H, W, C] when K > 1.

    Raises:
      ValueError: `images` is not uint8 [N, H, W, C] with N >= 1, or a number is out of range.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
        raise ValueError(
            f"images are {images.dtype} {list(images.shape)}, expected uint8 [N >= 1, H, W, C]"
        )
    check_least(1, batch_size=batch_size, batches_per_step=batches_per_step)
    check_least(0, seed=seed, start_step=start_step, num_steps=num_steps)
    pixels = np.asarray(images)  # A plain view: indexing an np.memmap costs more.
    sub_steps = () if batches_per_step == 1 else (batches_per_step,)

    def read(step: np.ndarray) -> np.ndarray:
        first = int(step) * batches_per_step
        batches = range(first, first + batches_per_step)
        indices = [batch_indices(len(pixels), batch_size, seed, batch) for batch in batches]
        return pixels[np.stack(indices, axis=1).reshape(batch_size, *sub_steps)]

    def element(step: tf.Tensor) -> tf.Tensor:
        batch = tf.numpy_function(read, [step], tf.uint8, stateful=False)
        return tf.ensure_shape(batch, (batch_size, *sub_steps, *pixels.shape[1:]))

    dataset = tf.data.Dataset.range(start_step, start_step + num_steps).map(element)
    options = tf.data.Options()
    options.deterministic = True
    # There are no files to shard by: every worker reads all batches and keeps its share of each.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options).prefetch(_PREFETCHED_STEPS)
