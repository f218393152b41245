"""NCFTransport: an optimal transport map as a scikit-learn transformer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from os import PathLike
from typing import Any, Literal, ParamSpec, Self, TypeVar, cast

import joblib
import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet

from sk_ncf._classes.class_pairs import ClassLabels, class_pairs
from sk_ncf._classes.labels import listed
from sk_ncf._flow.fork_safety import one_thread_after_fork
from sk_ncf._flow.transport_map import TransportMap
from sk_ncf._inputs.errors import LARGEST_SETTING, as_array
from sk_ncf._inputs.labels import checked_labels
from sk_ncf._inputs.types import Classifier, CostName, Device, Labels, Seed
from sk_ncf._inputs.validation import (
    Rows,
    checked_rows,
    select_rows,
    source_and_target,
    source_mask,
)
from sk_ncf._inputs.warn import warn
from sk_ncf._training.devices import resolve_device
from sk_ncf._training.fit_result import FitResult
from sk_ncf._training.fit_session import FitSession
from sk_ncf._training.messages import fit_warnings
from sk_ncf._version import __version__, check_version
from sk_ncf.costs import Cost
from sk_ncf.costs._registry import COSTS, make_cost
from sk_ncf.diagnostics._mixin import DiagnosticsMixin
from sk_ncf.objectives import Objective
from sk_ncf.objectives._registry import (
    OBJECTIVES,
    check_objective,
    make_objective,
)

try:  # scikit-learn >= 1.9, experimental
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef] # the name of the real one
        """Older scikit-learn: no callbacks through meta-estimators."""

    def with_callbacks(method: Any) -> Any:
        """Older scikit-learn: nothing to manage."""
        return method


__all__ = ["NCFTransport"]

# Fitted attributes that only a fit with classes has.
CLASS_ATTRIBUTES = (
    "classes_",
    "classifier_",
    "target_classifier_",
    "pseudo_label_fraction_",
    "pseudo_label_accuracy_",
)
Auto = Literal["auto"]
P = ParamSpec("P")
R = TypeVar("R")


def _all_or_nothing(method: Callable[P, R]) -> Callable[P, R]:
    """A fit that raises leaves the estimator as it was."""

    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = self.__dict__.copy()
        try:
            with one_thread_after_fork():
                return method(self, *args, **kwargs)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    return cast(Callable[P, R], wrapper)


def _calls_callbacks(fit: Callable[P, R]) -> Callable[P, R]:
    """scikit-learn's decorator, which has no types."""
    return with_callbacks(fit)


class NCFTransport(
    CallbackSupportMixin,
    OneToOneFeatureMixin,
    DiagnosticsMixin,
    TransformerMixin,
    BaseEstimator,
):
    r"""Optimal transport map between two samples, by neural characteristic flows.

    Finds the map T that transports the distribution of `X` to the distribution of
    `X_target` (or to a normal or uniform distribution) at the least expected cost
    :math:`E\, c(x, T(x))`. One network :math:`u(x, t)` solves the Hamilton-Jacobi
    equation :math:`u_t + H(\nabla u) = 0` by its characteristics [1]_, and gives

    .. math:: T(x) = x + \nabla H(\nabla u(x, 0)), \qquad
              T^{-1}(y) = y - \nabla H(\nabla u(y, 1)).

    Training is initialized at the optimal map between Gaussians with the means and
    (shrunk) covariances of the samples; for costs that are not quadratic, at the mean
    shift. Of the weights whose risk on a validation split is within a standard error of
    the best, the latest are used, if they are better than the initialization there.

    Most users set `cost`, `class_conditional`, `verbose` and `random_state` only. The
    parameters by purpose:

    - the problem: `cost`, `cost_params`, `output_distribution`, `default_domain`;
    - classes: `class_conditional`, `classifier`;
    - the model: `potential`, `max_potential_rows`, `ensemble_size`,
      `hidden_layer_sizes`;
    - the training: `objective`, `batch_size`, `learning_rate_init`, `max_iter`,
      `early_stopping`, `validation_fraction`, `n_iter_no_change`, `tol`, `warm_start`;
    - the computation: `device`, `n_jobs`, `verbose`, `random_state`,
      `checkpoint_dir`, `callbacks`, `skorch_net`.

    Parameters
    ----------
    cost : str or Cost, default="sqeuclidean"
        The cost c(x, y) = L(y - x): "sqeuclidean", "lp", "norm_power", "elastic",
        "pseudo_huber", "quadratic_form", or an object of :mod:`sk_ncf.costs`, whose
        parameters a grid search reaches as ``cost__p``.
    cost_params : dict, default=None
        Parameters of a cost given by name, such as ``{"p": 1.2}``.
    objective : {"semi_dual", "mmd"} or Objective, default="semi_dual"
        The training loss. "semi_dual": :class:`~sk_ncf.SemiDual`, the semi-dual
        objective with the residuals of the Hamilton-Jacobi equation. "mmd":
        :class:`~sk_ncf.MMD`, the loss of [1]_. An object holds its own weights, which
        a grid search reaches as ``objective__mmd_weight``.
    class_conditional : {False, True, "per_class", "shared"}, default=False
        Whether every class of source rows is mapped to the target rows of the same
        class. "per_class" (and True): by a map of its own; rows to be mapped need a
        class, given as `sample_label` or predicted. "shared": by one map for all, that
        of [1]_, which needs no class; with ``objective="mmd"`` only.
    classifier : classifier, default=None
        Cloned and fitted to the rows of each sample, it predicts the class of rows that
        are given without one. None: a support vector machine, ``SVC(C=10)``; gradient
        boosting above 20,000 rows, nearest neighbours above 50 classes. A grid search
        reaches ``classifier__C``.
    output_distribution : {"normal", "uniform"} or callable, default="normal"
        Target distribution if :meth:`fit` is given no target rows (and source
        distribution if it is given no source rows): standard normal, uniform on the
        unit cube, or any distribution as
        ``f(size=(n, n_features), random_state=rng)``. Not used if both are given.
    default_domain : {"source", "target"}, default="source"
        Domain of rows that are given without `sample_domain`. With "target", rows seen
        after the fit are returned unchanged by :meth:`transform`, as domain adaptation
        needs. When `X_target` is given, the rows of `X` in :meth:`fit` are source rows.
    potential : {"auto", "network", "discrete"}, default="auto"
        What the map is read from. "network": a trained network, which is smooth.
        "discrete": the exact entropic dual values of the rows, without a network. Its
        map takes a row to a mean of few target rows, or to one of them if values repeat.
        This is right if the optimal map is discontinuous (gaps between clusters,
        repeated values), and less accurate than the network if it is smooth. "auto":
        both are compared on held-out rows (`potential_choice_`), and with the quantile
        mapping of each column; the network in :meth:`partial_fit`, for a map that is
        shared by classes, and without `early_stopping`.
    max_potential_rows : int, default=4096
        Largest number of rows of each sample that a discrete potential keeps, in proportion
        to their weights. For every class a file has up to 8 (d + 2) bytes for each of
        them: 0.13 MB in all for two features, 3.3 MB for 100.
    ensemble_size : int, default="auto"
        Number of potentials that are trained at the same time, each on another subset
        of the rows; the map is that of their mean, which has a smaller error on few
        rows. After :meth:`fit` a single network learns the mean (5 to 10 % of the time
        of the fit) and replaces it if it agrees with it on held-out rows: it maps four
        times as many rows per second, and twenty times as many back. "auto": 4 below
        30,000 rows, with up to 4 features below 1,000,000 rows; else 1. With classes and
        in :meth:`partial_fit` 1.
    hidden_layer_sizes : tuple of int, default="auto"
        Widths of the layers, all equal. "auto": 4 layers of 96 (128 above 16 features)
        for one potential; an ensemble has 3 layers, of 64 with up to 4 features and of
        96 or 128 as above otherwise; with classes 3 layers of 64 (48 above 4 classes), 4
        of 192 for a shared map.
    batch_size : int, default="auto"
        Rows of each sample in the minibatch of one ensemble member or class. "auto": 256
        for one potential, 128 for an ensemble; with classes 256 (512 for a shared map)
        over all classes, at least 24 (32) of each, and a multiple of 8 if each class has
        its own map.
    learning_rate_init : float, default="auto"
        Learning rate after the warm-up. It is constant until a fifth of `max_iter`, and
        then falls linearly to zero (not in :meth:`partial_fit`). "auto": 0.008 from 8
        features on, smaller for fewer (0.0059 for two).
    max_iter : int, default="auto"
        Gradient steps (not epochs) that a fit takes at most. "auto": the smaller of
        4.5 n^0.65 and 190 n^0.25, between 30 and 5,000; n is the harmonic mean of the
        numbers of distinct rows of both samples.
    early_stopping : bool, default=True
        Whether to hold out a validation split that selects the checkpoint and ends the
        training when its risk has stopped improving. If False, all `max_iter` steps are
        taken and the checkpoint is selected on training rows.
    validation_fraction : float, default=0.1
        Fraction of the source rows, and of the target rows, that every ensemble member
        holds out, each member other rows. At least 32 rows, a quarter of fewer than
        128; at most 4,096 over all members.
    n_iter_no_change : int, default="auto"
        Gradient steps (not epochs) to wait for a better validation risk. Then the
        learning rate falls to zero within two thirds of the steps taken so far, and the
        training ends; if nothing has been better than the initialization by then, it
        ends at once. "auto": a third of `max_iter`, at least 30.
    tol : float, default=0.0
        Smallest decrease of the validation risk that counts as an improvement. The risk
        is that of rows of unit variance, so it does not depend on the units of X. A fit
        that gains less keeps its initialization.
    skorch_net : skorch.NeuralNet, default=None
        A net to train with, such as :class:`~sk_ncf.NCFNet` with another optimizer or
        module; a grid search reaches ``skorch_net__optimizer__weight_decay``.
    callbacks : list of skorch callbacks, default=None
        Added to the package's own.
    device : str or torch.device, default="auto"
        Torch device of the training and of the map, such as "cpu", "cuda" or "mps" (in
        float32 only). "auto": "cuda" if there is one, else "cpu". A net with an
        accelerator trains on the device of that.
    n_jobs : int, default=None
        Number of processes of :meth:`fit`, each of one thread. They share the ensemble
        members or the maps of classes, at least two each. The result is the same (up to
        rounding if `batch_size` is not a multiple of 8). None is 1 unless
        :func:`joblib.parallel_config` says otherwise, -1 the number of cores. One process
        is used in any case by :meth:`partial_fit`, in the workers of joblib (a grid
        search with `n_jobs`), on other systems than Linux, on a machine with a GPU that
        is not hidden (``CUDA_VISIBLE_DEVICES=""`` hides it), and for the steps of a
        training with a cost, objective, network or optimizer of your own, or with
        `callbacks` that are called for every minibatch. A fit that is called in another
        thread than the main one, or in a daemon process (a worker of
        ``multiprocessing.Pool``), uses one process, too.
    warm_start : bool, default=False
        Start from the weights of the last fit; its map is kept unless a better one is
        found.
    checkpoint_dir : str or path-like, default=None
        Folder, created if need be, in which :meth:`fit` (not :meth:`partial_fit`) saves
        its state about every ten seconds. The same fit, run again after a crash or an
        interruption, continues from there to the same result. Needs a `random_state`.
        A fit that ends by itself removes its file.
    verbose : int, default=0
        1 shows a progress bar for fits of more than two seconds; 2 also prints a line
        per epoch.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, minibatches and validation splits. None draws it
        from NumPy's global generator; no other global generator is ever used.

    Attributes
    ----------
    n_features_in_ : int
        Number of features, d.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X has string names.
    cost_ : Cost
        The cost.
    flow_ : CharacteristicFlow
        Potential and maps in the network's variables, on the CPU; of all classes.
    preconditioners_ : list of Preconditioner
        Changes of variables between the data and the network, one for every class.
    classes_ : ndarray of shape (n_classes,)
        The classes, with `class_conditional`.
    classifier_, target_classifier_ : classifier
        With ``class_conditional="per_class"``: predict the index in `classes_` of
        source rows, and of target rows. Each is None if the fit had no such rows.
    pseudo_label_fraction_, pseudo_label_accuracy_ : float
        With `class_conditional`: fraction of the target rows that had no label and got
        a pseudo-label, and the accuracy of pseudo-labels on labels that were held out
        (nan if a class has only one label, or none).
    net_ : skorch.NeuralNet
        The skorch net after training; None if there were too few rows to train on, or
        after :func:`~sk_ncf.load`.
    history_ : skorch.history.History
        Its record, one entry for every epoch, a tenth of the fit (10 to 250 gradient
        steps): training loss ``train_loss``, validation risk ``risk``, and
        ``valid_loss``, by which weights are selected. An empty list without training.
    n_iter_ : int
        Gradient steps taken.
    best_iter_ : int, or ndarray of int of shape (n_classes,)
        Gradient step of the selected checkpoint; 0 is the initialization. With
        ``class_conditional="per_class"`` one for every class.
    weight_to_split_ : float
        Fraction of the weight of the source rows that is in repeated values and would
        have to be split, because no value of the target rows is as frequent. The fit
        warns from 0.05 on.
    stop_reason_ : str
        Why the training ended: "converged", "max_iter", "initialization" (nothing was
        better than the initialization), "diverged", "interrupted" (Ctrl-C), "callback"
        (one of `callbacks` ended it), "partial_fit" or "too_few_rows". "discrete" if
        no network was trained (``potential="discrete"``), or if after a fifth of
        `max_iter` the discrete potential was clearly better.
    map_kind_ : str, or ndarray of str of shape (n_classes,)
        "network" if trained weights were better on held-out rows than the
        initialization. Otherwise the initialization, of which a warning tells:
        "gaussian" (quadratic costs only), "mean_shift" or "identity", the best of them
        by cross-fitting. "quantile" (squared Euclidean cost, ``potential="auto"``): the
        quantile mapping of each column, which the network was not better than.
        "discrete": the discrete potential (`potential`), of all classes. With
        ``class_conditional="per_class"`` one for every class.
    potential_choice_ : dict of str to float
        If ``potential="auto"`` compared both potentials, on held-out rows: fraction of
        mapped rows outside the support of the other sample ("outside_network",
        "outside_discrete", "outside_error"; 0.01 is that of new rows), the energy
        distance of the network's rows beyond its noise floor ("energy_network"), and by
        how much the discrete potential has a lower energy distance and a lower semi-dual
        risk ("energy_gain", "energy_error", "risk_gain", "risk_error"; the errors are
        standard errors, of which "n_errors" are asked for). If the network leaves nothing
        to improve, these gains are 0.
    n_outliers_ : ndarray of int of shape (2,)
        Number of distinct source and target rows that lie far outside the rest and were
        left out of the fit: at most 2 % of the weight, and rows with a code of a missing
        value, such as -9999. They are mapped like all other rows.

    See Also
    --------
    sklearn.preprocessing.QuantileTransformer : One-dimensional maps, feature by feature.
    sklearn.preprocessing.PowerTransformer : Parametric maps to normality.

    Notes
    -----
    The map of a network is the gradient of a smooth potential. If the optimal map is
    discontinuous (gaps between clusters), it crosses the gap steeply, and some rows end
    up between the clusters. The map of a discrete potential does not. Far from the
    training rows both are extrapolations.

    References
    ----------
    .. [1] Y. Park, S. Liu, M. Zhou, S. Osher, "Neural Hamilton-Jacobi Characteristic
       Flows for Optimal Transport", ICLR 2026. https://arxiv.org/abs/2510.01153

    Examples
    --------
    >>> import numpy as np
    >>> from sk_ncf import NCFTransport
    >>> rng = np.random.RandomState(0)
    >>> X, Y = rng.randn(500, 2), rng.randn(600, 2) @ [[2, 1], [0, 1]] + 5
    >>> transport = NCFTransport(max_iter=400, random_state=0).fit(X, X_target=Y)
    >>> mapped = transport.transform(X)
    >>> X.mean(axis=0).round(), mapped.mean(axis=0).round(), Y.mean(axis=0).round()
    (array([-0., -0.]), array([5., 5.]), array([5., 5.]))
    >>> back = transport.inverse_transform(mapped)
    >>> bool(np.allclose(back, X, atol=0.1))
    True
    """

    _session: FitSession
    _labels: ClassLabels | None

    _parameter_constraints: dict = {
        "cost": [StrOptions(set(COSTS)), Cost],
        "cost_params": [dict, None],
        "objective": [StrOptions(set(OBJECTIVES)), Objective],
        "class_conditional": ["boolean", StrOptions({"per_class", "shared"})],
        "classifier": [HasMethods(["fit", "predict"]), None],
        "output_distribution": [StrOptions({"normal", "uniform"}), callable],
        "default_domain": [StrOptions({"source", "target"})],
        "potential": [StrOptions({"auto", "network", "discrete"})],
        "max_potential_rows": [Interval(Integral, 1, 2**24, closed="both")],
        "ensemble_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, 1024, closed="both"),
        ],
        "hidden_layer_sizes": [StrOptions({"auto"}), tuple, list],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 2, 2**24, closed="both"),
        ],
        "learning_rate_init": [
            StrOptions({"auto"}),
            Interval(Real, 0, LARGEST_SETTING, closed="right"),
        ],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "tol": [Interval(Real, 0, LARGEST_SETTING, closed="both")],
        "skorch_net": [NeuralNet, None],
        "callbacks": [list, tuple, None],
        "device": [str, torch.device],
        "n_jobs": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Integral, None, -1, closed="right"),
            None,
        ],
        "warm_start": ["boolean"],
        "checkpoint_dir": [str, PathLike, None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    # Routed without any set_*_request call. score does not request X_target: in a
    # cross-validation it would get the target rows that the fit was trained on.
    __metadata_request__fit = {
        "X_target": True,
        "y_target": True,
        "sample_domain": True,
        "sample_weight": True,
        "target_weight": True,
    }
    __metadata_request__partial_fit = __metadata_request__fit
    __metadata_request__transform = {"sample_domain": True, "sample_label": False}
    __metadata_request__inverse_transform = __metadata_request__transform
    __metadata_request__score = {"sample_domain": True, "X_target": False}

    def __init__(
        self,
        *,
        cost: CostName | Cost = "sqeuclidean",
        cost_params: dict[str, Any] | None = None,
        objective: Literal["semi_dual", "mmd"] | Objective = "semi_dual",
        class_conditional: bool | Literal["per_class", "shared"] = False,
        classifier: Classifier | None = None,
        output_distribution: Literal["normal", "uniform"]
        | Callable[..., ArrayLike] = "normal",
        default_domain: Literal["source", "target"] = "source",
        potential: Literal["auto", "network", "discrete"] = "auto",
        max_potential_rows: int = 4096,
        ensemble_size: int | Auto = "auto",
        hidden_layer_sizes: Sequence[int] | Auto = "auto",
        batch_size: int | Auto = "auto",
        learning_rate_init: float | Auto = "auto",
        max_iter: int | Auto = "auto",
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int | Auto = "auto",
        tol: float = 0.0,
        skorch_net: NeuralNet | None = None,
        callbacks: Sequence[Any] | None = None,
        device: Device = "auto",
        n_jobs: int | None = None,
        warm_start: bool = False,
        checkpoint_dir: str | PathLike | None = None,
        verbose: int = 0,
        random_state: Seed = None,
    ):
        self.cost = cost
        self.cost_params = cost_params
        self.objective = objective
        self.class_conditional = class_conditional
        self.classifier = classifier
        self.output_distribution = output_distribution
        self.default_domain = default_domain
        self.potential = potential
        self.max_potential_rows = max_potential_rows
        self.ensemble_size = ensemble_size
        self.hidden_layer_sizes = hidden_layer_sizes
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.skorch_net = skorch_net
        self.callbacks = callbacks
        self.device = device
        self.n_jobs = n_jobs
        self.warm_start = warm_start
        self.checkpoint_dir = checkpoint_dir
        self.verbose = verbose
        self.random_state = random_state

    @_all_or_nothing
    @_calls_callbacks
    def fit(
        self,
        X: ArrayLike,
        y: Labels | None = None,
        *,
        X_target: ArrayLike | None = None,
        y_target: Labels | None = None,
        sample_domain: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        target_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit the map from the source rows to the target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows; or rows of both samples, told apart by `sample_domain`.
        y : array-like of shape (n_samples,), default=None
            Class labels of the rows of X, needed with `class_conditional`, ignored
            without. Missing (-1, NaN or None) for target rows only.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target rows. If there are none, neither here nor in X, X is mapped to
            `output_distribution`; with ``default_domain="target"`` X is the target, and
            `output_distribution` the source.
        y_target : array-like of shape (n_target_samples,), default=None
            Class labels of the rows of X_target with `class_conditional`; -1, NaN or
            None if missing. Missing ones are predicted, also if there are no others.
        sample_domain : int or array-like of shape (n_samples,), default=None
            Rows of X with values >= 0 are source, < 0 target.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows of X, >= 0. Whole numbers are counts: a row of weight 2
            counts as two rows. All other weights are relative, whatever their sum.
        target_weight : array-like of shape (n_target_samples,), default=None
            Weights of the rows of X_target, >= 0.

        Returns
        -------
        self : NCFTransport

        Raises
        ------
        ValueError
            If a parameter or the data are not valid; the message names which. The
            estimator is then as it was before.

        Warns
        -----
        OutlierWarning
            If rows far outside the rest (`n_outliers_`) have more than a tenth of the
            variance of a feature.
        ConvergenceWarning
            If the training diverged or was interrupted, or if the map is the
            initialization (`map_kind_`).
        MapQualityWarning
            If many source rows share a value that would have to be split
            (`weight_to_split_`).
        """
        self._check_parameters()
        given = X, y, X_target, y_target, sample_domain, sample_weight, target_weight
        source, target = source_and_target(self, *given, reset=True)
        previous = self.flow_ if self.warm_start and hasattr(self, "flow_") else None
        self.cost_ = make_cost(clone(self.cost, safe=False), self.cost_params)
        pairs, labels, pooled = self._pairs(source, target)
        session = FitSession(self, pairs, pooled)
        return self._set_fitted(session, session.run(previous), labels)

    @_all_or_nothing
    def partial_fit(
        self,
        X: ArrayLike,
        y: Labels | None = None,
        *,
        X_target: ArrayLike | None = None,
        y_target: Labels | None = None,
        sample_domain: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        target_weight: ArrayLike | None = None,
    ) -> Self:
        """Train for one pass over these rows, continuing from the last call.

        The change of variables is that of the first call. Some rows of every call are
        held out, and the checkpoint with the best risk on those of all calls is used.

        Parameters
        ----------
        X, y, X_target, y_target, sample_domain, sample_weight, target_weight
            As in :meth:`fit`.

        Returns
        -------
        self : NCFTransport
        """
        self._check_parameters()
        if self.potential == "discrete":
            raise ValueError(
                "potential='discrete' needs all rows at once: call fit, or set "
                "potential='auto', with which partial_fit trains a network."
            )
        first = not hasattr(self, "flow_")
        given = X, y, X_target, y_target, sample_domain, sample_weight, target_weight
        source, target = source_and_target(self, *given, reset=first)
        if first:
            self.cost_ = make_cost(clone(self.cost, safe=False), self.cost_params)
        else:
            self._check_continues()
        known = None if first else self._labels
        pairs, labels, pooled = self._pairs(source, target, known)
        if first:
            session = FitSession(self, pairs, pooled, stream=True)
        else:
            session = self._session.copy_for_training()
            session.add_samples(self, pairs)
        previous = None if first else self.flow_
        return self._set_fitted(session, session.run(previous), labels)

    def _check_parameters(self) -> None:
        self._validate_params()
        resolve_device(self.device)
        if isinstance(self.classifier, type):
            raise ValueError(
                f"classifier must be an instance, got the class {self.classifier!r}."
            )
        objective = make_objective(self.objective)
        check_objective(objective)
        if self.class_conditional == "shared" and self.potential == "discrete":
            raise ValueError(
                "potential='discrete' needs class_conditional='per_class' or False, got "
                "'shared': a map that is shared by classes is not the optimal one."
            )
        if self.class_conditional == "shared" and not objective.allows_shared_map:
            raise ValueError(
                "class_conditional='shared' needs objective='mmd', got "
                f"objective={self.objective!r}: a map that is shared by classes is not "
                "the optimal one, which the semi-dual objective would look for."
            )

    def _check_continues(self) -> None:
        was: str | bool = False
        if self._labels is not None:
            was = "per_class" if self._maps_per_class() else "shared"
        now = self.class_conditional and (
            "shared" if self.class_conditional == "shared" else "per_class"
        )
        if was != now:
            raise ValueError(
                f"class_conditional must stay what it was in the first call, {was!r}, "
                f"got {now!r}."
            )

    def _pairs(
        self, source: Rows | None, target: Rows | None, known: ClassLabels | None = None
    ) -> tuple[list, ClassLabels | None, dict]:
        """Rows of every class, the classes and their classifiers, pooled moments."""
        if not self.class_conditional:
            return [(source, target)], None, {}
        rng = check_random_state(self.random_state if known is None else 0)
        return class_pairs(self, source, target, rng, known)

    def _set_fitted(
        self, session: FitSession, result: FitResult, labels: ClassLabels | None
    ) -> Self:
        """Fitted attributes of a finished session."""
        self.flow_, self.net_ = result.flow, result.net
        self.preconditioners_ = session.preconditioners
        self.history_ = [] if result.net is None else result.net.history
        self.n_iter_ = result.n_iter
        self.best_iter_: int | np.ndarray = result.best_iter
        self.map_kind_: str | np.ndarray = result.map_kind
        if session.n_potentials == 1:
            self.best_iter_ = int(result.best_iter[0])
            self.map_kind_ = str(result.map_kind[0])
        self.stop_reason_ = result.stop_reason
        self.n_outliers_ = session.n_outliers
        self.__dict__.pop("potential_choice_", None)
        if result.comparison is not None:
            self.potential_choice_ = vars(result.comparison)
        if session.weight_to_split is not None:
            self.weight_to_split_ = session.weight_to_split
        self._score_rows = session.score_rows
        self._session = session.state_for_partial_fit()
        self._labels = labels
        self._set_class_attributes(labels)
        for message, category in fit_warnings(session, result):
            warn(message, category)
        if labels is not None and result.small.any():
            self._warn_of_small_classes(result.small)
        return self

    def _set_class_attributes(self, labels: ClassLabels | None) -> None:
        for name in CLASS_ATTRIBUTES:  # of an earlier fit
            self.__dict__.pop(name, None)
        if labels is None:
            return
        self.classes_ = labels.classes
        self.pseudo_label_fraction_ = labels.pseudo_label_fraction
        self.pseudo_label_accuracy_ = labels.pseudo_label_accuracy
        if labels.per_class:
            self.classifier_ = labels.classifier
            self.target_classifier_ = labels.target_classifier

    def _warn_of_small_classes(self, small: np.ndarray) -> None:
        if not self._maps_per_class():
            return
        warn(
            "Classes with too few rows to train on keep their initialization (the "
            "Gaussian map; for one row, or a cost that is not quadratic, the mean shift): "
            f"{listed(self.classes_[small].tolist())}."
        )

    @_all_or_nothing
    def fit_transform(
        self,
        X: ArrayLike,
        y: Labels | None = None,
        *,
        X_target: ArrayLike | None = None,
        y_target: Labels | None = None,
        sample_domain: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        target_weight: ArrayLike | None = None,
    ) -> np.ndarray:
        """Fit, then map the source rows of X.

        With `default_domain="target"` and `X_target`, the rows of X are the source and
        are mapped here, while later rows without `sample_domain` are returned unchanged
        by :meth:`transform`. With ``class_conditional="per_class"`` the rows are mapped
        by their true class y, whereas ``fit(X, y).transform(X)`` predicts it: the
        results may differ.

        Parameters
        ----------
        X, y, X_target, y_target, sample_domain, sample_weight, target_weight
            As in :meth:`fit`.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features)
        """
        self.fit(
            X,
            y,
            X_target=X_target,
            y_target=y_target,
            sample_domain=sample_domain,
            sample_weight=sample_weight,
            target_weight=target_weight,
        )
        if sample_domain is None and X_target is not None:
            sample_domain = 1
        label = y if self._maps_per_class() else None
        return self.transform(X, sample_domain=sample_domain, sample_label=label)

    @one_thread_after_fork()
    def transform(
        self,
        X: ArrayLike,
        *,
        sample_domain: ArrayLike | None = None,
        sample_label: Any = None,
    ) -> np.ndarray:
        r"""Map source rows, :math:`T(x) = x + \nabla H(\nabla u(x, 0))`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_domain : int or array-like of shape (n_samples,), default=None
            Rows with values >= 0 are mapped, the others returned as they are; None
            takes `default_domain` for all.
        sample_label : label or array-like of shape (n_samples,), default=None
            Classes of the rows, for ``class_conditional="per_class"`` (ignored
            otherwise); for None, and rows whose label is missing, `classifier_`
            predicts. It is not called y, because scikit-learn's metadata routing
            passes nothing of that name to a transform.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features)
        """
        fitted, rows, mask = self._to_map(X, sample_domain)
        moving = select_rows(rows, mask)
        codes = self._codes(moving, sample_label, mask)
        return _replaced(rows, mask, fitted.forward(moving, codes))

    @one_thread_after_fork()
    def inverse_transform(
        self,
        X: ArrayLike,
        *,
        sample_domain: ArrayLike | None = None,
        sample_label: Any = None,
    ) -> np.ndarray:
        r"""Map target rows back, the inverse of :meth:`transform`.

        Starts from :math:`y - \nabla H(\nabla u(y, 1))` and takes up to three damped
        fixed-point steps :math:`x \leftarrow y - \nabla H(\nabla u(x, 0))`, which make
        it a more exact inverse. A network that replaced an ensemble has learned their
        result and takes none: a row that is mapped and mapped back is then 1 to 5 % of
        a standard deviation from where it was.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_domain : int or array-like of shape (n_samples,), default=None
            Rows with values < 0 are mapped back, the others returned as they are; None
            takes all rows for target rows, whatever `default_domain` is.
        sample_label : label or array-like of shape (n_samples,), default=None
            As in :meth:`transform`; for None, and rows whose label is missing,
            `target_classifier_` predicts.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features)
        """
        sample_domain = -1 if sample_domain is None else sample_domain
        fitted, rows, mask = self._to_map(X, sample_domain, source=False)
        moving = select_rows(rows, mask)
        codes = self._codes(moving, sample_label, mask, source=False)
        return _replaced(rows, mask, fitted.inverse(moving, codes))

    @one_thread_after_fork()
    def interpolate(
        self,
        X: ArrayLike,
        t: ArrayLike,
        *,
        sample_domain: ArrayLike | None = None,
        sample_label: Any = None,
    ) -> np.ndarray:
        r"""Displacement interpolation :math:`T_t(x) = x + t (T(x) - x)`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        t : float or array-like of shape (n_samples,)
            Time in [0, 1]: 0 gives X, 1 the mapped rows.
        sample_domain, sample_label
            As in :meth:`transform`.

        Returns
        -------
        X_t : ndarray of shape (n_samples, n_features)

        Raises
        ------
        ValueError
            If t is outside [0, 1].
        """
        fitted, rows, mask = self._to_map(X, sample_domain)
        time = as_array("t", t)
        number = time.dtype.kind in "iufb" and time.shape in ((), (len(rows),))
        if not number or not ((time >= 0) & (time <= 1)).all():
            raise ValueError(
                f"t must be a number in [0, 1] or {len(rows)} of them, got {time!r}."
            )
        s, part = time[mask, None] if time.ndim else time, rows[mask]
        codes = self._codes(part, sample_label, mask)
        moved = (1 - s) * part + s * fitted.forward(part, codes)
        return _replaced(rows, mask, moved.astype(rows.dtype, copy=False))

    def _to_map(
        self, X: ArrayLike, sample_domain: ArrayLike | None, source: bool = True
    ) -> tuple[TransportMap, np.ndarray, np.ndarray]:
        """The fitted map, the checked rows and the mask of those to be mapped."""
        check_is_fitted(self)
        rows = checked_rows(self, X)
        mask = source_mask(sample_domain, len(rows), self.default_domain)
        return self._transport_map(), rows, mask if source else ~mask

    def _maps_per_class(self) -> bool:
        return self._labels is not None and self._labels.per_class

    def _codes(
        self,
        rows: np.ndarray,
        label: Any,
        mask: np.ndarray | None = None,
        source: bool = True,
        name: str = "sample_label",
    ) -> np.ndarray | None:
        """Class codes of rows; None if there is one map for all."""
        labels = self._labels
        if labels is None or not labels.per_class:
            return None
        mask = np.ones(len(rows), dtype=bool) if mask is None else mask
        if label is None or as_array(name, label).ndim == 0:
            label = [label] * len(mask)
        given = checked_labels(name, label, len(mask))[mask]
        return labels.codes(rows, given, source, name)

    def _transport_map(self) -> TransportMap:
        return TransportMap(
            self.flow_, self.preconditioners_, resolve_device(self.device)
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_sk_ncf_version": __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        check_version(type(self).__name__, state.pop("_sk_ncf_version", None), 2)
        super().__setstate__(state)

    def __dask_tokenize__(self) -> tuple[str, str]:
        # Dask names its tasks by what their functions hold.
        return type(self).__name__, joblib.hash(self)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        conditional = self.class_conditional
        known = isinstance(conditional, (str, bool, np.bool_))  # not validated yet
        tags.target_tags.required = known and bool(conditional)
        return tags


def _replaced(rows: np.ndarray, mask: np.ndarray, mapped: np.ndarray) -> np.ndarray:
    """`rows` with those of `mask` replaced; the caller's array is not touched."""
    if mask.all():
        return mapped
    rows = rows.copy()
    rows[mask] = mapped
    return rows
