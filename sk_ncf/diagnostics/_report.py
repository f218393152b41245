"""Results of the diagnostics: the numbers, and a verdict in words."""

import textwrap
from dataclasses import dataclass, fields

from sk_ncf._samples.atoms import REPORTED_SHARE, SPLIT_MESSAGE

__all__ = ["Diagnostics", "DirectionDiagnostics", "MapQualityWarning"]

FAIR, BAD = 5.0, 25.0  # errors above these are not small, or large; % of the variance
FAR = 0.2  # fraction of rows out of support above which the map is not trusted
SIGNIFICANCE = 0.05  # p-value below which two samples differ significantly
FAIR_GAP = 0.1  # of the transport cost: a larger duality gap is not small
N_STANDARD_ERRORS = 3.0  # from which on a duality gap is no accident
WIDTH = 80  # characters of a printed line


class MapQualityWarning(UserWarning):
    """The map should not be trusted, on the rows of the fit or of the diagnostics."""


@dataclass(frozen=True)
class DirectionDiagnostics:
    """Diagnostics of one direction, the map or its inverse.

    The map is compared with target rows, its inverse with source rows. Both are called
    the reference rows here.

    Attributes
    ----------
    error : float
        Estimated error of the map (L2-UVP), a lower bound up to sampling error, in
        percent of the variance of the reference rows. It is the squared Wasserstein
        distance between mapped rows and reference rows, minus its noise floor, plus
        `cycle_error`.
    energy_distance : float
        Squared energy distance between one half of the mapped rows and one half of the
        reference rows.
    noise_floor : float
        The same distance between both halves of the reference rows.
    p_value : float
        The p-value of a permutation test of equal distributions of mapped rows and
        reference rows.
    cycle_error : float
        Cycle-consistency error: mean squared distance between a row and its image under
        the map and then the inverse, in percent of the variance of the rows.
    residual : float
        Root mean square of the Hamilton-Jacobi residual, in the units of the cost.
    out_of_support : float
        Fraction of the rows to be mapped that lie outside the support of the training
        rows. It is about 0.01 for new rows of the same distribution.
    weight_to_split : float
        Fraction of the weight of the rows to be mapped that is in repeated values and
        would have to be split, because no value of the reference rows is as frequent.
    mapped_outside : float
        Fraction of the mapped rows outside the support of the reference rows, such as
        between two clusters. It is about 0.01 for an exact map.
    """

    error: float
    energy_distance: float
    noise_floor: float
    p_value: float
    cycle_error: float
    residual: float
    out_of_support: float
    weight_to_split: float = 0.0
    mapped_outside: float = 0.0


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
        The score on the same rows. It estimates the optimal transport cost from below,
        and is exact for the optimal potential.
    n_rows : int
        Number of source rows that were evaluated, and of target rows.
    gap_error : float
        Standard error of the duality gap.
    n_outliers : tuple of int
        Number of source and of target rows, of all given ones, that lie far outside the
        training rows. If they are at most one in twenty, they are not evaluated.
    """

    forward: DirectionDiagnostics
    inverse: DirectionDiagnostics
    transport_cost: float
    score: float
    n_rows: int
    gap_error: float = 0.0
    n_outliers: tuple[int, int] = (0, 0)

    @property
    def error(self) -> float:
        """The larger of the estimated errors of both directions, in percent."""
        return max(self.forward.error, self.inverse.error)

    @property
    def gap(self) -> float:
        """The duality gap, transport cost minus score.

        It is 0 for the optimal map, up to sampling error. It is positive if the
        displacements are too long, and negative if they are too short.
        """
        return self.transport_cost - self.score

    @property
    def relative_gap(self) -> float:
        """The duality gap as a fraction of the optimal transport cost, or of the map's.

        The larger of both costs. 0 if the gap is within its sampling error.
        """
        if abs(self.gap) <= N_STANDARD_ERRORS * self.gap_error:
            return 0.0
        return self.gap / (max(abs(self.transport_cost), abs(self.score)) or 1.0)

    @property
    def significant(self) -> bool:
        """Whether mapped rows differ significantly from the reference rows."""
        return min(self.forward.p_value, self.inverse.p_value) < SIGNIFICANCE

    @property
    def out_of_support(self) -> float:
        """The larger of the fractions of rows outside the training support."""
        return max(self.forward.out_of_support, self.inverse.out_of_support)

    @property
    def trusted(self) -> bool:
        """False if the error is large, or if many rows are out of support."""
        return not (self._wrong() or self.out_of_support > FAR)

    @property
    def verdict(self) -> str:
        """The numbers in words."""
        sentences = [self._verdict_on_error()]
        if abs(self.relative_gap) > FAIR_GAP and not self._wrong():
            sentences.append(self._verdict_on_gap())
        for found, side, other in (
            (self.forward, "source", "target"),
            (self.inverse, "target", "source"),
        ):
            share = found.weight_to_split
            if share >= REPORTED_SHARE:
                sentences.append(
                    SPLIT_MESSAGE.format(share=share, side=side, other=other)
                )
        return " ".join(sentences)

    def _verdict_on_error(self) -> str:
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
                "rows do not differ significantly from the rows they should match."
            )
        if self.error > FAIR:
            return f"Use the map with care: its error is {error} or more."
        if abs(self.relative_gap) > FAIR_GAP:
            return f"Use the map with care: its estimated error is {error}."
        if self.significant:
            p_value = min(self.forward.p_value, self.inverse.p_value)
            return (
                f"The map can be trusted: its estimated error is {error}. That is small, "
                f"although statistically significant (p = {p_value:.2g})."
            )
        return (
            "The map can be trusted: mapped rows do not differ significantly from the "
            f"rows they should match, and the estimated error is {error}."
        )

    def _verdict_on_gap(self) -> str:
        if self.gap < 0:
            return (
                f"Its transport cost is {-self.relative_gap:.0%} below the optimal one: "
                "rows stop short of the target, as they do where the optimal map is "
                "discontinuous."
            )
        return (
            f"Its transport cost is {self.relative_gap:.0%} above the optimal one: rows "
            "are moved further than they need."
        )

    def _wrong(self) -> bool:
        cycle_error = max(self.forward.cycle_error, self.inverse.cycle_error)
        return cycle_error > BAD or (self.error > BAD and self.significant)

    def __repr__(self) -> str:
        lines = [
            f"Diagnostics on {self.n_rows} source and {self.n_rows} target rows",
            f"{'':<50}{'forward':>11}{'inverse':>11}",
        ]
        for field in fields(DirectionDiagnostics):
            values = (getattr(d, field.name) for d in (self.forward, self.inverse))
            numbers = "".join(f"{value:>11.3g}" for value in values)
            lines.append(f"{_HEADINGS[field.name]:<50}{numbers}")
        lines += textwrap.wrap(
            f"transport cost {self.transport_cost:.4g}, score {self.score:.4g}, "
            f"duality gap {self.gap:.2g} +- {self.gap_error:.1g} (units of the cost)",
            WIDTH,
        )
        if any(self.n_outliers):
            source, target = self.n_outliers
            lines.append(
                f"far outside the training rows: {source} source and {target} target rows"
            )
        return "\n".join([*lines, *textwrap.wrap(self.verdict, WIDTH)])


_HEADINGS = {
    "error": "estimated error (lower bound), % of variance",
    "energy_distance": "squared energy distance",
    "noise_floor": "  its noise floor (same distribution)",
    "p_value": "  p-value (same distribution)",
    "cycle_error": "cycle-consistency error, % of variance",
    "residual": "Hamilton-Jacobi residual, units of the cost",
    "out_of_support": "fraction of rows outside the training support",
    "weight_to_split": "fraction of weight in values to be split",
    "mapped_outside": "fraction of mapped rows outside the other sample",
}
