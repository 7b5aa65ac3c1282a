"""What a model rests on: the share of each feature in its predictions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from everfit.evaluation.trial import Question, ask, hold_trial
from everfit.packages import FittedModel

ROWS, REPEATS, SEED = 1_000, 3, 0


def importance(
    fitted: FittedModel,
    frame: pl.DataFrame,
    target: str | None,
    metric: str,
    *,
    rows: int = ROWS,
    seed: int = SEED,
) -> dict[str, float]:
    r"""Return the share of each input in what the model knows, the largest first.

    Permutation importance: how much the metric's loss rises when the column is shuffled, cut off
    at 0 and divided by the sum over columns. Without a target: the share of predictions that
    change.

    Parameters
    ----------
    fitted
        The model; it is asked ``REPEATS`` times per input.
    frame
        Held-out rows; at most ``rows`` of them, spread evenly, are used.
    target
        Column of the truth; None for clustering.
    metric
        Which loss; of no account without a target.
    rows, seed
        How many rows, and where the shuffling starts.

    Returns
    -------
    dict
        Sums to 1; all 0 for a model that no input moves, or where there is no row. Of two columns
        that say the same, each shows only what the other cannot replace.

    References
    ----------
    Fisher, A., Rudin, C. & Dominici, F. (2019). All models are wrong, but many are useful.
    *JMLR* 20, 1-81.
    """
    known = frame if target is None else frame.filter(pl.col(target).is_not_null())
    names = fitted.signature.names
    if known.is_empty():
        return dict.fromkeys(names, 0.0)
    sample = known.gather_every(max(1, -(-known.height // rows)))
    loss = _loss_of(fitted, sample, target, metric)
    before = loss(sample)
    rng = np.random.default_rng(seed)
    rises = {}
    for name in names:
        column = sample[name]
        shuffled = (column.gather(rng.permutation(sample.height)) for _ in range(REPEATS))
        after = [loss(sample.with_columns(values)) - before for values in shuffled]
        rises[name] = max(0.0, float(np.mean(after)))
    total = sum(rises.values())
    shares = {name: rise / total if total > 0 else 0.0 for name, rise in rises.items()}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _loss_of(
    fitted: FittedModel, sample: pl.DataFrame, target: str | None, metric: str
) -> Callable[[pl.DataFrame], float]:
    if target is None:
        original = fitted.predict(sample)
        return lambda rows: float((fitted.predict(rows) != original).mean())
    trial = hold_trial(fitted, None, sample, Question(target=target, metric=metric))
    return lambda rows: float(trial.losses(ask(fitted, rows, trial.classes, name="")).mean())
