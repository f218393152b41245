"""Values that many rows share: what of their weight no map can bring to the other side."""

import numpy as np

__all__ = ["CANNOT_SPLIT", "HEAVY", "weight_to_split"]

HEAVY = 0.05  # share of the weight of a value, or of all, below which little is lost
LEAST = 1e-3  # share of the weight of a value that anything is put on
FEWEST = 50  # rows of a side, below which nothing is said
DOUBT = 3.0  # standard deviations of the difference of two shares

CANNOT_SPLIT = (
    "{share:.0%} of the weight of the {side} rows is in repeated values that would have "
    "to be split: more rows share them than any value of the {other} rows, and a map "
    "takes equal rows to one place. Jitter the rows (add noise below their resolution), "
    "or treat the column as categorical."
)


def weight_to_split(source, target):
    """Share of the source's weight that its heavy values have too much of.

    The heavy values of the source, the heaviest first, are put on the values of the
    target, each where it leaves the least room; what finds no room has to be split.
    Differences that two samples of one distribution may have are let pass. This is a
    lower bound, whatever the places of the values: rows without heavy values, or equal
    or merged values, have nothing to split.

    Parameters
    ----------
    source, target : Sample

    Returns
    -------
    float
        Between 0 and 1.
    """
    sizes = source.effective_size, target.effective_size
    if min(sizes) < FEWEST:
        return 0.0
    room = np.append(target.weight[target.weight >= LEAST], 0.0)
    heavy = source.weight[(source.weight >= HEAVY) & (source.counts > 1)]
    rate = 1 / sizes[0] + 1 / sizes[1]
    too_much = 0.0
    for weight in np.sort(heavy)[::-1]:
        fits = room >= weight - DOUBT * np.sqrt(weight * rate)
        if fits.any():
            room[np.flatnonzero(fits)[room[fits].argmin()]] -= weight
        else:
            fullest = room.argmax()
            too_much += weight - max(0.0, room[fullest])
            room[fullest] = min(0.0, room[fullest])
    return too_much
