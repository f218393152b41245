"""Repeated values (atoms): the part of their weight that no map can transport."""

import numpy as np

from sk_ncf._samples.sample import Sample

__all__ = ["REPORTED_SHARE", "SPLIT_MESSAGE", "weight_to_split"]

REPORTED_SHARE = 0.05  # of the weight; less than this is not reported
MIN_TARGET_SHARE = 1e-3  # of the weight, of a target value that can be matched
MIN_ROWS = 50  # of each sample; fewer do not show which values are repeated
N_STANDARD_ERRORS = 3.0  # by which two shares must differ

SPLIT_MESSAGE = (
    "{share:.0%} of the weight of the {side} rows is in repeated values that would have "
    "to be split: more rows share them than any value of the {other} rows, but a map "
    "takes equal rows to one place. Add noise below the resolution of the data (jitter), "
    "or treat the column as categorical."
)


def weight_to_split(source: Sample, target: Sample) -> float:
    """Share of the source's weight in repeated values that would have to be split.

    The repeated values of the source, heaviest first, are assigned to values of the
    target, each to the one whose remaining weight it fits best. Weight that fits
    nowhere would have to be split. Differences that can be sampling errors of equal
    distributions are not counted.

    The assignment ignores the positions of the values, so the result is a lower bound.
    It is 0 if the source has no repeated values, if they are as frequent in the target,
    or if several of them become one target value.

    Parameters
    ----------
    source, target : Sample

    Returns
    -------
    float
        Between 0 and 1.
    """
    sizes = source.effective_size, target.effective_size
    if min(sizes) < MIN_ROWS:
        return 0.0
    room = np.append(target.weight[target.weight >= MIN_TARGET_SHARE], 0.0)
    repeated = (source.weight >= REPORTED_SHARE) & (source.counts > 1)
    variance = 1 / sizes[0] + 1 / sizes[1]  # of a difference of shares, per unit share
    to_split = 0.0
    for weight in np.sort(source.weight[repeated])[::-1]:
        fits = room >= weight - N_STANDARD_ERRORS * np.sqrt(weight * variance)
        if fits.any():
            room[np.flatnonzero(fits)[room[fits].argmin()]] -= weight
        else:
            largest = room.argmax()
            to_split += float(weight - max(0.0, room[largest]))
            room[largest] = min(0.0, room[largest])
    return to_split
