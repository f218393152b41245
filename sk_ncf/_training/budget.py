"""How many steps a fit takes, and how often its validation risk is evaluated."""

import math

__all__ = [
    "auto_max_iter",
    "auto_patience",
    "balanced_size",
    "epoch_length",
    "too_few_rows",
    "warmup_steps",
]

MIN_ROWS = 32  # fewer keep the initialization
N_EPOCHS = 10  # evaluations of the validation risk in a fit, at least
MIN_EPOCH, MAX_EPOCH = 10, 250  # steps between two of them
MAX_WARMUP = 100


def balanced_size(n_source: float, n_target: float) -> float:
    """Rows of each sample of a balanced problem with the same sampling error.

    The variance of a difference between two samples is proportional to 1/n + 1/m. The
    harmonic mean of n and m has the same: the smaller sample limits what can be learned.
    """
    return 2 / (1 / n_source + 1 / n_target)


def auto_max_iter(n: float) -> int:
    r"""Steps of a fit to n rows of each sample, :math:`\min(4.5 n^{0.65}, 190 n^{1/4})`.

    There are at least 30 and at most 5,000.
    More rows determine finer details of the map, and these take more steps to learn. The
    first power was measured on 256 to 4,096 rows in 2 to 64 dimensions: with so many steps,
    the error is within a few percent of that of the longest fits, which on few rows is
    soon the sampling error. Many rows are seen too seldom to be overfitted: there the
    second power limits the time.
    """
    return int(min(5_000, max(30, min(4.5 * n**0.65, 190 * n**0.25))))


def auto_patience(max_iter: int) -> int:
    """Steps without a better risk after which training is shortened: a third.

    That is longer than the warm-up. A single evaluation is noisy: there are at least three
    of them.
    """
    return max(3 * MIN_EPOCH, math.ceil(max_iter / 3))


def warmup_steps(max_iter: int) -> int:
    """Steps until the full learning rate: a tenth of the fit, at most 100."""
    return max(1, min(MAX_WARMUP, max_iter // 10))


def epoch_length(n_steps: int) -> int:
    """Steps between two evaluations of the validation risk.

    There are at least ten in a fit of 100 steps or more. In short fits on few rows, one
    takes the time of a step or two; in long ones on many rows, that of twenty.
    """
    return min(MAX_EPOCH, n_steps, max(MIN_EPOCH, n_steps // N_EPOCHS))


def too_few_rows(n: float) -> bool:
    """Whether n rows of each sample cannot show that a trained map is better."""
    return n < MIN_ROWS
