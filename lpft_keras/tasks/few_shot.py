"""Few-shot splits: k training and k validation rows a class, as in Malladi et al. 2023 and Gao et al. 2021."""

import logging
from dataclasses import replace

import numpy as np

from lpft_keras.errors import InputError
from lpft_keras.tasks.splits import Split, TaskData

log = logging.getLogger(__name__)

TEST_ROWS = 1000
"""Test rows kept where there are more, of each set of them; evaluation is then cheap beside few rows of training."""

_TEST_SEED = 42


def few_shot(data: TaskData, shots: int | None, seed: int) -> TaskData:
    """Draw few rows a class: of each the first k train, the next k validate, in an order drawn by the seed.

    They are drawn from the official training rows, out of which the validation rows are held otherwise. Test sets are
    the official ones, of which `TEST_ROWS` are drawn, the same for all seeds, where there are more. That is how the
    original draws; that its rows are the same is not said, since it draws them by another generator from other files.

    Args:
        data: A task's splits.
        shots: k; None draws nothing.
        seed: The run's seed. The original's five are `methods.FEW_SHOT_SEEDS`.

    Returns:
        The splits, rows in file order.

    Raises:
        InputError: A class has one row only, which can't both train and validate.
    """
    if shots is None:
        return data
    rows = data.official or data.train
    largest = int(np.bincount(rows.labels).max())
    if largest < 2 * shots:
        raise InputError(
            f"shots is {shots}, and no class has twice as many training rows (the largest has {largest}): take "
            f"{largest // 2} or fewer, or leave shots out"
        )
    order = np.random.default_rng([seed, 4]).permutation(len(rows))
    kept, held = [], []
    for label, name in enumerate(data.labels):
        own = order[rows.labels[order] == label]
        if len(own) < 2:
            raise InputError(
                f"class {name!r} has {len(own)} training row{'' if len(own) == 1 else 's'}, too few for one that "
                "trains and one that validates; give more rows (a larger limit), or leave shots out"
            )
        count = shots
        if len(own) < 2 * shots:
            count = (len(own) + 1) // 2
            log.warning(
                "class %r has %d rows instead of twice %d: %d train, %d validate",
                name,
                len(own),
                shots,
                count,
                len(own) - count,
            )
        kept.append(own[:count])
        held.append(own[count : 2 * count])
    return replace(
        data,
        train=rows.take(np.sort(np.concatenate(kept))),
        validation=rows.take(np.sort(np.concatenate(held))),
        test=None if data.test is None else _few_tests(data.test),
        ood={name: _few_tests(split) for name, split in data.ood.items()},
    )


def _few_tests(split: Split) -> Split:
    if len(split) <= TEST_ROWS:
        return split
    return split.take(np.sort(np.random.default_rng(_TEST_SEED).choice(len(split), TEST_ROWS, replace=False)))
