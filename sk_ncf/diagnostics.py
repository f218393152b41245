"""What is found of a map, and the verdict in words."""

from dataclasses import dataclass, fields

__all__ = ["Diagnostics", "Direction", "DistrustWarning"]

FAIR, BAD = 5.0, 25.0  # percent of the variance
FAR = 0.2  # share of rows outside the support that is no accident
SURE = 0.05  # p-value below which two samples are told apart


class DistrustWarning(UserWarning):
    """The map is not to be trusted on the rows that were looked at."""


@dataclass(frozen=True)
class Direction:
    """What is found of one direction, the map or its inverse.

    Attributes
    ----------
    error : float
        Estimate of the part of the map's error that shows, in percent of the variance
        of the rows it should lead to (L2-UVP): their squared Wasserstein distance to
        the mapped rows, less what two samples of one law differ by, plus the round trip.
    energy_distance : float
        Squared energy distance of one half of the mapped rows to one half of the rows
        they should be distributed like.
    floor : float
        The same between the two halves of the latter.
    p_value : float
        Of the permutation test that both have the same law.
    round_trip : float
        Mean squared distance of a row to where the way there and back leads, in percent
        of its side's variance.
    residual : float
        Root mean square of the Hamilton-Jacobi residual, in the units of the cost.
    outside : float
        Share of the rows to be mapped that lie outside those of the fit; about 0.01 for
        rows of the same law.
    """

    error: float
    energy_distance: float
    floor: float
    p_value: float
    round_trip: float
    residual: float
    outside: float


@dataclass(frozen=True, repr=False)
class Diagnostics:
    """Whether a map is to be trusted, as :meth:`NCFTransport.diagnostics` finds it.

    Attributes
    ----------
    forward, inverse : Direction
        Of the map and of its inverse.
    transport_cost : float
        Mean cost of the moves of the map.
    score : float
        The score on the same rows: an estimate of the least cost from below, reached by
        the optimal potential.
    n_rows : int
        Rows of either side that were looked at.
    """

    forward: Direction
    inverse: Direction
    transport_cost: float
    score: float
    n_rows: int

    @property
    def error(self):
        """The greater of the errors of both directions, in percent of the variance."""
        return max(self.forward.error, self.inverse.error)

    @property
    def gap(self):
        """The duality gap, transport cost minus score: 0 for the optimal map.

        But for sampling. Positive where rows are moved further than they need, negative
        where they stop short of the target.
        """
        return self.transport_cost - self.score

    @property
    def told_apart(self):
        """Whether mapped rows differ from what they should be like beyond doubt."""
        return min(self.forward.p_value, self.inverse.p_value) < SURE

    @property
    def outside(self):
        """The greater share of rows outside those of the fit."""
        return max(self.forward.outside, self.inverse.outside)

    @property
    def trusted(self):
        """False where the error is large beyond doubt, or the rows are not the fit's."""
        return not (self._wrong() or self.outside > FAR)

    @property
    def verdict(self):
        """What all this means, in plain words."""
        error = f"about {self.error:.2g} % of the variance"
        far = (
            f"{self.outside:.0%} of these rows lie outside those of the fit, where the "
            "map is extrapolation"
        )
        if self._wrong():
            also = f"; {far}" if self.outside > FAR else ""
            return f"Do not trust the map: it errs by {error} or more{also}."
        if self.outside > FAR:
            return f"Do not trust the map: {far}."
        if self.error > FAIR and not self.told_apart:
            return (
                f"Too few rows to tell: the error looks like {error}, but mapped rows "
                "and those they should be like are not told apart."
            )
        if self.error > FAIR:
            return f"Use the map with care: it errs by {error} or more."
        if self.told_apart:
            return f"The map can be trusted: it errs by {error}."
        return (
            "The map can be trusted: mapped rows are not told apart from those they "
            f"should be like, and the error looks like {error}."
        )

    def _wrong(self):
        returns = max(self.forward.round_trip, self.inverse.round_trip)
        return returns > BAD or (self.error > BAD and self.told_apart)

    def __repr__(self):
        lines = [
            f"Diagnostics on {self.n_rows} rows of either side",
            f"{'':<42}{'forward':>12}{'inverse':>12}",
        ]
        for field in fields(Direction):
            values = (getattr(d, field.name) for d in (self.forward, self.inverse))
            numbers = "".join(f"{value:>12.3g}" for value in values)
            lines.append(f"{_SAID[field.name]:<42}{numbers}")
        lines.append(
            f"transport cost {self.transport_cost:.4g}, score {self.score:.4g}, "
            f"gap {self.gap:.2g}"
        )
        return "\n".join([*lines, self.verdict])


_SAID = {
    "error": "error that shows, % of variance",
    "energy_distance": "squared energy distance",
    "floor": "  of two samples of one law",
    "p_value": "  p-value of one law",
    "round_trip": "round trip, % of variance",
    "residual": "Hamilton-Jacobi residual, units of cost",
    "outside": "share of rows outside those of the fit",
}
