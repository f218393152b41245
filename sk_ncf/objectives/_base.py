"""The base class of training objectives."""

from sklearn.base import BaseEstimator, clone
from torch import Tensor

from sk_ncf._flow.characteristics import CharacteristicFlow

__all__ = ["Objective"]


class Objective(BaseEstimator):
    r"""Base class: the training loss of one minibatch, a weighted sum of terms.

    .. math:: \mathcal{L}(u) = \sum_k w_k \, \ell_k(u; x, y, t)

    A subclass defines :meth:`terms`. The weight :math:`w_k` of a term is the constructor
    argument of the same name with ``_weight`` behind it; a term without such an argument
    has weight 1. Constructor arguments are hyperparameters, as in any scikit-learn
    object, so that a grid search reaches them (``objective__hj_weight``).

    Attributes
    ----------
    allows_shared_map : bool
        Whether the objective can train one map for several classes
        (``class_conditional="shared"``). False unless a subclass says otherwise.
    """

    allows_shared_map: bool = False

    def terms(
        self, flow: CharacteristicFlow, x: Tensor, y: Tensor, t: Tensor
    ) -> dict[str, Tensor]:
        """The terms of the loss by name, each of shape [K]: one value per potential.

        Parameters
        ----------
        flow : CharacteristicFlow
            The potential, its maps and the cost, in the network's variables. It has K
            potentials: one for every class or ensemble member.
        x, y : Tensor of shape [K, n, d]
            Source rows and target rows. If one map is shared by several classes, the
            first axis of the rows is that of the classes, and K of the flow is 1.
        t : Tensor of shape [K, n], values in [0, 1]
            Times, uniformly distributed.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define terms(flow, x, y, t)."
        )

    def resolved(self, class_conditional: bool) -> "Objective":
        """A copy in which every weight "auto" is a number.

        Parameters
        ----------
        class_conditional : bool
            Whether the fit has classes.
        """
        return clone(self)

    def weight(self, term: str) -> float:
        """The weight of a term."""
        return getattr(self, f"{term}_weight", 1.0)

    def __call__(
        self, flow: CharacteristicFlow, x: Tensor, y: Tensor, t: Tensor
    ) -> dict[str, Tensor]:
        """The weighted terms by name, each of shape [K] (see :meth:`terms`)."""
        terms = self.terms(flow, x, y, t)
        return {name: self.weight(name) * term for name, term in terms.items()}
