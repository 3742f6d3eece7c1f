"""The players of a game: who owns which networks, and how all of them move at once.

In a hybrid three or four networks play, each with its own loss, variables and optimiser
(Algorithm 4). A model lists its players; `update_players` takes each loss's gradient in its own
player's variables and no other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Player:
    """One player.

    Attributes:
      name: the key of its loss.
      networks: the networks whose trainable variables it moves.
      optimizer: the optimiser that moves them.
    """

    name: str
    networks: tuple[keras.layers.Layer, ...]
    optimizer: keras.optimizers.Optimizer

    @property
    def variables(self) -> list[keras.Variable]:
        """The trainable variables of the player, each once, in a fixed order."""
        found = [v for network in self.networks for v in network.trainable_variables]
        return list({id(v): v for v in found}.values())


def player_gradients(
    tape: tf.GradientTape, players: Sequence[Player], losses: Mapping[str, tf.Tensor]
) -> dict[str, list[tf.Tensor]]:
    """Returns the gradient of each player's loss in its own variables.

    Losses are means over the examples of a replica; gradients of all replicas are summed, hence
    the division by their number: two replicas and one give the same update.

    Args:
      tape: the persistent tape that recorded the losses.
      players: who moves; others' losses are left alone.
      losses: scalar losses by player.

    Raises:
      ValueError: a loss is no scalar, or does not depend on one of its player's variables.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    gradients = {}
    for player in players:
        variables = player.variables
        if losses[player.name].shape.rank != 0:
            shape = losses[player.name].shape
            raise ValueError(f"the loss of {player.name} has shape {shape}, expected a scalar")
        seed = tf.constant(1.0 / replicas)
        found = tape.gradient(losses[player.name], variables, output_gradients=seed)
        lost = [v.path for v, g in zip(variables, found, strict=True) if g is None]
        if lost:
            raise ValueError(f"the loss of {player.name} does not reach {', '.join(lost)}")
        gradients[player.name] = found
    return gradients


def update_players(
    tape: tf.GradientTape, players: Sequence[Player], losses: Mapping[str, tf.Tensor]
) -> None:
    """Moves all players at once, each down the gradient of its own loss."""
    gradients = player_gradients(tape, players, losses)
    for player in players:
        player.optimizer.apply(gradients[player.name], player.variables)
