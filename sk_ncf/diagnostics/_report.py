"""The result of the diagnostics of a map: numbers, and a verdict in words."""

from dataclasses import dataclass, fields

__all__ = ["Diagnostics", "DirectionDiagnostics", "MapQualityWarning"]

FAIR, BAD = 5.0, 25.0  # percent of the variance
FAR = 0.2  # fraction of rows out of support that is no accident
SIGNIFICANCE = 0.05  # p-value below which two samples differ significantly


class MapQualityWarning(UserWarning):
    """The map should not be trusted on the rows that were looked at."""


@dataclass(frozen=True)
class DirectionDiagnostics:
    """Diagnostics of one direction, the map or its inverse.

    Attributes
    ----------
    error : float
        Estimate, from below, of the error of the map (L2-UVP): the squared Wasserstein
        distance between mapped rows and rows of the other side, minus its noise floor,
        plus `cycle_error`; in percent of the variance of the other side's rows.
    energy_distance : float
        Squared energy distance between half of the mapped rows and half of the rows of
        the other side.
    noise_floor : float
        The same distance between two halves of the rows of the other side.
    p_value : float
        Of the two-sample permutation test that mapped rows and rows of the other side
        have the same distribution.
    cycle_error : float
        Mean squared distance between a row and its image under the map and then the
        inverse, in percent of the variance of its side.
    residual : float
        Root mean square of the Hamilton-Jacobi residual, in the units of the cost.
    out_of_support : float
        Fraction of the rows to be mapped that lie outside the support of the training
        rows; about 0.01 for rows of the same distribution.
    """

    error: float
    energy_distance: float
    noise_floor: float
    p_value: float
    cycle_error: float
    residual: float
    out_of_support: float


@dataclass(frozen=True, repr=False)
class Diagnostics:
    """The result of :meth:`NCFTransport.diagnostics`: whether to trust a map.

    Attributes
    ----------
    forward, inverse : DirectionDiagnostics
        Of the map and of its inverse.
    transport_cost : float
        Mean cost of the displacements of the map.
    score : float
        The score on the same rows: an estimate, from below, of the optimal transport
        cost, exact for the optimal potential.
    n_rows : int
        Number of source rows, and of target rows, that were looked at.
    n_outliers : tuple of int
        Source and target rows, of all that were given, that lie far outside those of
        the fit. Up to one in twenty are not looked at any further.
    """

    forward: DirectionDiagnostics
    inverse: DirectionDiagnostics
    transport_cost: float
    score: float
    n_rows: int
    n_outliers: tuple[int, int] = (0, 0)

    @property
    def error(self) -> float:
        """The larger of the estimated errors of both directions, in percent."""
        return max(self.forward.error, self.inverse.error)

    @property
    def gap(self) -> float:
        """The duality gap, transport cost minus score: 0 for the optimal map.

        Up to sampling error. Positive if the displacements are longer than needed,
        negative if they stop short of the target.
        """
        return self.transport_cost - self.score

    @property
    def significant(self) -> bool:
        """Whether mapped rows differ significantly from rows of the other side."""
        return min(self.forward.p_value, self.inverse.p_value) < SIGNIFICANCE

    @property
    def out_of_support(self) -> float:
        """The larger of the fractions of rows outside the support of the fit."""
        return max(self.forward.out_of_support, self.inverse.out_of_support)

    @property
    def trusted(self) -> bool:
        """False if the error is significantly large, or rows are out of support."""
        return not (self._wrong() or self.out_of_support > FAR)

    @property
    def verdict(self) -> str:
        """The numbers summed up in words."""
        error = f"about {self.error:.2g} % of the variance"
        far = (
            f"{self.out_of_support:.0%} of these rows lie outside the support of the "
            "training rows, where the map is an extrapolation"
        )
        if self._wrong():
            also = f"; {far}" if self.out_of_support > FAR else ""
            return f"Do not trust the map: its error is {error} or more{also}."
        if self.out_of_support > FAR:
            return f"Do not trust the map: {far}."
        if self.error > FAIR and not self.significant:
            return (
                f"Too few rows to decide: the estimated error is {error}, but mapped "
                "rows do not differ significantly from rows of the other side."
            )
        if self.error > FAIR:
            return f"Use the map with care: its error is {error} or more."
        if self.significant:
            return f"The map can be trusted: its estimated error is {error}."
        return (
            "The map can be trusted: mapped rows do not differ significantly from rows "
            f"of the other side, and the estimated error is {error}."
        )

    def _wrong(self) -> bool:
        cycle_error = max(self.forward.cycle_error, self.inverse.cycle_error)
        return cycle_error > BAD or (self.error > BAD and self.significant)

    def __repr__(self) -> str:
        lines = [
            f"Diagnostics on {self.n_rows} source and {self.n_rows} target rows",
            f"{'':<46}{'forward':>11}{'inverse':>11}",
        ]
        for field in fields(DirectionDiagnostics):
            values = (getattr(d, field.name) for d in (self.forward, self.inverse))
            numbers = "".join(f"{value:>11.3g}" for value in values)
            lines.append(f"{_HEADINGS[field.name]:<46}{numbers}")
        lines.append(
            f"transport cost {self.transport_cost:.4g}, score {self.score:.4g}, "
            f"duality gap {self.gap:.2g} (units of the cost)"
        )
        if any(self.n_outliers):
            source, target = self.n_outliers
            lines.append(
                f"far outside the training rows: {source} source and {target} target rows"
            )
        return "\n".join([*lines, self.verdict])


_HEADINGS = {
    "error": "estimated error (from below), % of variance",
    "energy_distance": "squared energy distance",
    "noise_floor": "  its noise floor (two target samples)",
    "p_value": "  p-value of the two-sample test",
    "cycle_error": "cycle-consistency error, % of variance",
    "residual": "Hamilton-Jacobi residual, units of the cost",
    "out_of_support": "fraction of rows outside the training support",
}
