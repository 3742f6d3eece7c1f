"""The players of a game: who owns which networks, and how all of them move at once.

In a hybrid three or four networks play, each with its own loss, variables and optimiser
(Algorithm 4).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

ADAM_EPSILON = 1e-8
# Scalars by name: the losses of the players, and what is logged.
Terms = dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Player:
    """One player."""

    name: str  # the key of its loss
    networks: tuple[keras.layers.Layer, ...]  # whose trainable variables it moves
    optimizer: keras.optimizers.Optimizer

    @property
    def variables(self) -> list[keras.Variable]:
        """The trainable variables of the player, each once, in a fixed order."""
        found = [v for network in self.networks for v in network.trainable_variables]
        return list({id(v): v for v in found}.values())


def player_gradients(
    tape: tf.GradientTape, players: Sequence[Player], losses: Mapping[str, tf.Tensor]
) -> dict[str, list[tf.Tensor]]:
    """Returns by player the gradient of its loss, a scalar, in its own variables; `tape` persists.

    Losses are means over the examples of a replica; gradients of all replicas are summed, hence
    the division by their number: two replicas and one give the same update. `ValueError` where a
    loss is no scalar, or does not depend on one of its player's variables.
    """
    share = tf.constant(1.0 / tf.distribute.get_strategy().num_replicas_in_sync)
    gradients = {}
    for player in players:
        loss, variables = losses[player.name], player.variables
        name = f"the loss of {player.name}"
        if loss.shape.rank != 0:
            raise ValueError(f"{name} has shape {loss.shape}, expected a scalar")
        found = tape.gradient(loss, variables, output_gradients=share)
        lost = [v.path for v, g in zip(variables, found, strict=True) if g is None]
        if lost:
            raise ValueError(f"{name} does not reach {', '.join(lost)}")
        gradients[player.name] = found
    return gradients


def update_players(
    tape: tf.GradientTape, players: Sequence[Player], losses: Mapping[str, tf.Tensor]
) -> None:
    """Moves all players at once, each down the gradient of its own loss."""
    gradients = player_gradients(tape, players, losses)
    for player in players:
        player.optimizer.apply(gradients[player.name], player.variables)
