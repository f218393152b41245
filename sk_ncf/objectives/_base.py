"""The base class of training objectives."""

from collections.abc import Mapping
from typing import ClassVar, Self

from sklearn.base import BaseEstimator, clone
from torch import Tensor

from sk_ncf._flow.characteristics import CharacteristicFlow

__all__ = ["Objective"]


class Objective(BaseEstimator):
    r"""Base class: the training loss of a minibatch, a weighted sum of terms.

    .. math:: \mathcal{L}(u) = \sum_k w_k \, \ell_k(u; x, y, t)

    A subclass defines :meth:`terms`. The weight :math:`w_k` of a term is the constructor
    argument with the name of the term followed by ``_weight``. A term without such an
    argument has weight 1. Constructor arguments are hyperparameters, as in any
    scikit-learn object. A grid search reaches them as ``objective__hj_weight``.

    The objectives of the package also have a name, in
    ``sk_ncf/objectives/_registry.py``.

    Attributes
    ----------
    allows_shared_map : bool
        Whether the objective can train one map for all classes
        (``class_conditional="shared"``). False unless a subclass sets it to True. Its
        ``hj_weight`` and ``mmd_weight`` then also weigh what the checkpoints of a shared
        map are selected by.
    auto_weights : dict of str to pair of float
        For each weight that may be "auto": its value without classes, and with classes.
    """

    allows_shared_map: ClassVar[bool] = False
    auto_weights: ClassVar[Mapping[str, tuple[float, float]]] = {}

    def terms(
        self, flow: CharacteristicFlow, x: Tensor, y: Tensor, t: Tensor
    ) -> dict[str, Tensor]:
        """The terms of the loss by name, each of shape [K]: one value per potential.

        A map that is shared by several classes has one potential. A term may then have
        one value per class instead.

        Parameters
        ----------
        flow : CharacteristicFlow
            The potential u, its maps and the cost, in the network's variables. It has K
            potentials: one for every class or ensemble member.
        x, y : Tensor of shape [K, n, d] and [K, m, d]
            Source samples and target samples. If one map is shared by several classes,
            n = m, the first axis is that of the classes, and the flow has one potential.
        t : Tensor of shape [K, n], values in [0, 1]
            Random times, uniformly distributed.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define terms(flow, x, y, t)."
        )

    def resolved(self, class_conditional: bool) -> Self:
        """A copy in which every weight "auto" is a number.

        Parameters
        ----------
        class_conditional : bool
            Whether the fit has classes.
        """
        objective = clone(self)
        for name, values in self.auto_weights.items():
            if getattr(objective, name, None) == "auto":
                setattr(objective, name, values[bool(class_conditional)])
        return objective

    def weight(self, term: str) -> float:
        """The weight of a term."""
        return getattr(self, f"{term}_weight", 1.0)

    def __call__(
        self, flow: CharacteristicFlow, x: Tensor, y: Tensor, t: Tensor
    ) -> dict[str, Tensor]:
        """The weighted terms by name, each of shape [K] (see :meth:`terms`).

        Raises
        ------
        ValueError
            If :meth:`terms` returns anything but a dict of tensors of shape [K], or
            leaves out a term whose weight is not zero.
        """
        terms = self.terms(flow, x, y, t)
        self._check_terms(terms, {flow.potential.n_potentials, len(x)})
        return {name: self.weight(name) * term for name, term in terms.items()}

    def _check_terms(self, terms: dict[str, Tensor], sizes: set[int]) -> None:
        """Raise unless `terms` is what :meth:`terms` must return, of one of the sizes."""
        name = type(self).__name__
        if not isinstance(terms, dict) or not terms:
            raise ValueError(
                f"{name}.terms must return a dict of tensors with at least one entry, "
                f"got {terms!r}."
            )
        for key, term in terms.items():
            shape = tuple(term.shape) if isinstance(term, Tensor) else type(term)
            if shape not in [(size,) for size in sizes]:
                raise ValueError(
                    f"{name}.terms must return tensors of shape ({min(sizes)},), one "
                    f"value per potential, got {shape} for the term {key!r}."
                )
        for key, value in vars(self).items():
            if key.endswith("_weight") and value and key[:-7] not in terms:
                raise ValueError(
                    f"{key}={value!r} of {name} is the weight of no term: terms returned "
                    f"{sorted(terms)}."
                )
