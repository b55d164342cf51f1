"""How much each feature matters to a model: by how much its loss rises where the values are shuffled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd


def permutation_importance(
    inputs: pd.DataFrame, loss: Callable[[pd.DataFrame], float], seed: int = 0
) -> dict[str, float]:
    """Return by how much the loss rises where one feature after the other is shuffled (Breiman 2001).

    Args:
        inputs: Rows that the model was not trained on, (n, any).
        loss: The mean loss of the model on such rows, in this order.
        seed: Of the shuffling.
    """
    draws = np.random.default_rng(seed)
    usual = loss(inputs)
    rises = {}
    for name in inputs:
        shuffled = inputs[name].iloc[draws.permutation(len(inputs))].set_axis(inputs.index)
        rises[str(name)] = loss(inputs.assign(**{str(name): shuffled})) - usual
    return rises
