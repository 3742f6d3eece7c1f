"""Where a model trains: one device, several devices, several machines, or a TPU.

Batches: strategies split the global batch by its first axis in the order of the replicas, on one
machine and on several, so that replica r holds rows [r B / R, (r + 1) B / R).
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfdm.errors import UserError, did_you_mean

STRATEGIES = ("auto", "cpu", "mirrored", "multi_worker", "tpu")


def make_strategy(name: str = "auto") -> tf.distribute.Strategy:
    """Returns the strategy of this name; call it before any other TensorFlow operation.

    `auto` takes all local accelerators; `cpu` the CPU also where there are accelerators; `mirrored`
    one replica for each local accelerator, or each logical CPU device where there is none;
    `multi_worker` the cluster in the environment variable `TF_CONFIG`; `tpu` the TPU that its
    cluster resolver finds.

    Raises:
      UserError: there is no such strategy, cluster or TPU.
    """
    if name not in STRATEGIES:
        raise UserError(f"unknown strategy {name!r}: {did_you_mean(name, STRATEGIES)}")
    # These two before TensorFlow makes its devices.
    if name == "multi_worker":
        return _multi_worker()
    if name == "tpu":
        return _tpu()
    accelerators = [device.name for device in tf.config.list_logical_devices("GPU")]
    if name == "mirrored" or (name == "auto" and len(accelerators) > 1):
        cpus = [device.name for device in tf.config.list_logical_devices("CPU")]
        return _mirrored_over(tuple(accelerators or cpus))
    if name == "cpu" and accelerators:
        return tf.distribute.OneDeviceStrategy("CPU:0")
    return tf.distribute.get_strategy()


def describe(strategy: tf.distribute.Strategy) -> str:
    """Returns the devices of a strategy in words, such as `2 replicas on GPU`."""
    if strategy is tf.distribute.get_strategy():  # It leaves the device to TensorFlow.
        return "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    kinds = {tf.DeviceSpec.from_string(d).device_type for d in strategy.extended.worker_devices}
    replicas = strategy.num_replicas_in_sync
    number = "" if replicas == 1 else f"{replicas} replicas on "
    return number + " and ".join(sorted(kind or "CPU" for kind in kinds))


def check_batch_size(strategy: tf.distribute.Strategy, batch_size: int) -> None:
    """Raises `UserError` when the replicas cannot get the same number of examples."""
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise UserError(
            f"batch_size {batch_size} cannot be split over {replicas} replicas: "
            f"choose a multiple of {replicas}"
        )


def gathered(values: tf.Tensor) -> tf.Tensor:
    """Returns values [B, ...] of all R replicas in their order, [R B, ...], inside a replica.

    The gradient of a replica's values is summed over what all replicas make of them.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.strategy.num_replicas_in_sync == 1:
        return values
    return context.all_gather(values, axis=0)


class Workers:
    """The processes that train one model together; alone, it answers at once.

    Every process, of `number`, has to make the same calls in the same order. Only the one that
    `is_chief` writes files.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        self.number = number_of_workers(strategy)
        self.is_chief = bool(strategy.extended.should_checkpoint)
        self._votes = self._summed(
            lambda replica, vote: tf.one_hot(replica, strategy.num_replicas_in_sync, vote, 0)
        )
        self._of_chief = self._summed(lambda replica, bits: tf.where(replica == 0, bits, 0))

    def maximum(self, number: int) -> int:
        """Returns the largest of the workers' non-negative numbers, below 2³¹."""
        if self.number == 1:
            return number
        return int(self._votes(tf.constant(number, tf.int32)).max())

    def wait(self) -> None:
        """Returns when all workers have come here."""
        self.maximum(0)

    def from_chief(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the chief's values of these arrays, bit for bit, on every worker."""
        if self.number == 1:
            return dict(arrays)
        names = sorted(arrays)
        content = b"".join(np.ascontiguousarray(arrays[name]).tobytes() for name in names)
        padded = content + b"\0" * (-len(content) % 4)
        # As integers: adding zeros to floats would lose the sign of a zero.
        bits = tf.constant(np.frombuffer(padded, np.int32))
        received = self._of_chief(bits).tobytes()
        result, start = {}, 0
        for name in names:
            like = arrays[name]
            flat = np.frombuffer(received, like.dtype, like.size, start)
            result[name] = flat.reshape(like.shape).copy()
            start += like.nbytes
        return result

    def _summed(
        self, contribution: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    ) -> Callable[[tf.Tensor], np.ndarray]:
        """Returns the function that sums contributions(replica's number, value) over replicas."""

        def add(value: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            share = contribution(context.replica_id_in_sync_group, value)
            return context.all_reduce(tf.distribute.ReduceOp.SUM, share)

        traced = tf.function(lambda value: self._strategy.run(add, args=(value,)), autograph=False)
        return lambda value: self._strategy.experimental_local_results(traced(value))[0].numpy()


def number_of_workers(strategy: tf.distribute.Strategy) -> int:
    """Returns the number of processes that train together under `strategy`."""
    resolver = getattr(strategy, "cluster_resolver", None)
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or resolver is None:
        return 1
    cluster = resolver.cluster_spec().as_dict()
    return max(1, sum(len(cluster.get(kind, [])) for kind in ("chief", "worker")))


def replicated_train_function(model: Any) -> Callable[[Iterator[Any]], dict[str, tf.Tensor]]:
    """Returns what `fit` calls with an iterator over batches under a strategy with replicas.

    Keras's own averages each log over an axis that a scalar lacks, and replicas other than TPUs
    cannot talk from inside its nested conditions.
    """
    strategy = model.distribute_strategy

    def one_step(batch: Any) -> dict[str, tf.Tensor]:
        logs = strategy.run(model.train_step, args=(batch,))
        return {name: strategy.experimental_local_results(v)[0] for name, v in logs.items()}

    if not model.run_eagerly:
        one_step = tf.function(
            one_step, autograph=False, reduce_retracing=True, jit_compile=model.jit_compile
        )

    def steps(iterator: Iterator[Any]) -> dict[str, tf.Tensor]:
        logs = one_step(next(iterator))
        for _ in range(1, model.steps_per_execution):
            try:
                batch = next(iterator)
            except StopIteration:  # The last execution may be shorter.
                break
            logs = one_step(batch)
        return logs

    return steps


@functools.cache
def _mirrored_over(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    """One strategy for each set of devices: a second one would use the first one's message keys."""
    # Between the logical devices of one CPU a plain sum is faster than messages.
    operations = None if "GPU" in devices[0] else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(list(devices), cross_device_ops=operations)


def _multi_worker() -> tf.distribute.Strategy:
    what_to_do = 'set it to {"cluster": {"worker": ["host:port", ..]}, "task": {"type": .., ..}}'
    text = os.environ.get("TF_CONFIG")
    if not text:
        raise UserError(f"--strategy=multi_worker needs the variable TF_CONFIG: {what_to_do}")
    try:
        config = json.loads(text)
        workers = config["cluster"]["worker"]
        task = config["task"]["type"], int(config["task"]["index"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"TF_CONFIG cannot be read ({error!r}): {what_to_do}") from None
    if task[0] not in ("chief", "worker"):
        raise UserError(f"TF_CONFIG has a task of type {task[0]!r}: expected chief or worker")
    if task[0] == "worker" and not 0 <= task[1] < len(workers):
        raise UserError(f"TF_CONFIG has task index {task[1]} among {len(workers)} workers")
    return tf.distribute.MultiWorkerMirroredStrategy()


def _tpu() -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        how = "set TPU_NAME or choose another --strategy"
        raise UserError(f"no TPU was found ({str(error).splitlines()[0]}): {how}") from None
    return tf.distribute.TPUStrategy(resolver)
