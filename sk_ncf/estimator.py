"""NCFTransport: an optimal transport map as a scikit-learn transformer."""

import functools
import warnings
from numbers import Integral, Real
from os import PathLike

import joblib
import numpy as np
import torch
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet

from sk_ncf.conditional import pairs_of_classes
from sk_ncf.costs import COSTS, Cost, make_cost
from sk_ncf.devices import resolve_device
from sk_ncf.domains import (
    both_sides,
    checked_rows,
    rows_where,
    source_rows,
)
from sk_ncf.errors import as_array
from sk_ncf.forks import one_thread_after_fork
from sk_ncf.judged import JudgedTransport
from sk_ncf.labels import checked_labels
from sk_ncf.losses import KERNELS
from sk_ncf.session import FitSession
from sk_ncf.transport_map import TransportMap

try:  # scikit-learn >= 1.9, experimental
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:
        """Older scikit-learn: no callbacks through meta-estimators."""

    def with_callbacks(method):
        """Older scikit-learn: nothing to manage."""
        return method


__all__ = ["NCFTransport"]

LARGE = 1e30  # of weights, rates and tolerances: a number in float32 and its square

# Fitted attributes that a fit without classes has not.
OF_CLASSES = (
    "classes_",
    "classifier_",
    "target_classifier_",
    "named_share_",
    "named_accuracy_",
)


def _all_or_nothing(method):
    """A fit that raises leaves the estimator as it was."""

    @functools.wraps(method)
    def wrapper(self, *args, **kwargs):
        before = self.__dict__.copy()
        try:
            with one_thread_after_fork():
                return method(self, *args, **kwargs)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    return wrapper


class NCFTransport(
    CallbackSupportMixin,
    OneToOneFeatureMixin,
    JudgedTransport,
    TransformerMixin,
    BaseEstimator,
):
    r"""Optimal transport map between two samples, by neural characteristic flows.

    Finds the map T that carries the rows of `X` to the distribution of the rows of
    `X_target` (or to a normal or uniform distribution) at the least total cost
    :math:`E\, c(x, T(x))`. One network :math:`u(x, t)` solves the Hamilton-Jacobi
    equation :math:`u_t + H(\nabla u) = 0` by its characteristics [1]_, and gives

    .. math:: T(x) = x + \nabla H(\nabla u(x, 0)), \qquad
              T^{-1}(y) = y - \nabla H(\nabla u(y, 1)).

    Training starts at the optimal map between Gaussians of the samples' means and
    covariances (for costs other than quadratic: at the mean shift) and keeps what
    measures best on rows it does not train on, so the result is not worse than that.

    Parameters
    ----------
    cost : str or Cost, default="sqeuclidean"
        The cost c(x, y) = L(y - x): "sqeuclidean", "lp", "norm_power", "elastic",
        "pseudo_huber", "quadratic_form", or an object of :mod:`sk_ncf.costs`, whose
        parameters a grid search then reaches as ``cost__p``.
    cost_params : dict, default=None
        Parameters of a cost given by name, such as ``{"p": 1.2}``.
    objective : {"dual", "mmd"}, default="dual"
        "dual": semi-dual objective, Hamilton-Jacobi and momentum residuals and
        Hopf-Lax penalty. "mmd": the loss of [1]_, implicit residual and kernel
        discrepancy.
    class_conditional : {False, True, "label", "shared"}, default=False
        Whether every class of source rows is carried to the target rows of the same
        class. "label" (and True): by a map of its own; rows to be mapped need a class,
        given as `sample_label` or predicted. "shared": by one map for all, that of
        [1]_, which needs no class; with ``objective="mmd"`` only.
    classifier : classifier, default=None
        Cloned and fitted to the rows of either side, it names the class of rows that
        come without one. None: a support vector machine, ``SVC(C=10)``; gradient
        boosting above 20,000 rows, nearest neighbours above 50 classes. A grid search
        reaches ``classifier__C``.
    output_distribution : {"normal", "uniform"} or callable, default="normal"
        What stands for the side that is not given to :meth:`fit`: the standard normal
        distribution, the uniform one on the unit cube, or any distribution as
        ``f(size=(n, n_features), random_state=rng)``.
    default_domain : {"source", "target"}, default="source"
        Domain of rows that come without `sample_domain`. With "target", rows met after
        the fit are returned unchanged by :meth:`transform`, as domain adaptation wants.
        When `X_target` is given, the rows of `X` in :meth:`fit` are source rows.
    n_members : int, default="auto"
        Potentials trained side by side, each on other rows; the map is that of their
        mean, which errs less than one where rows are few, and takes longer to map.
        "auto": 4 for less than 30,000 rows, with up to 4 features for less than a
        million; else 1, and 1 with classes or in :meth:`partial_fit`.
    hidden_layer_sizes : tuple of int, default="auto"
        Widths of the layers, all equal; "auto": 4 layers of 96 (128 above 16 features)
        for one member, 3 for several, these of 64 up to 4 features; with classes 3
        layers of 64 (48 above 4 classes), 4 of 192 where the map is shared.
    batch_size : int, default="auto"
        Rows of each side in the minibatch of a member or class; "auto": 256 for one
        member, 128 for several, and 256 (512 where the map is shared) over all classes,
        at least 24 (32) of each.
    learning_rate_init : float, default="auto"
        Learning rate of the plateau; "auto": 0.005.
    max_iter : int, default="auto"
        Most gradient steps of a fit; "auto": 1,000 to 5,000, more for larger samples.
    early_stopping : bool, default=True
        Hold rows out to choose the weights, and end early when their risk has settled.
        If False, the whole budget is spent and the training rows choose.
    validation_fraction : float, default=0.1
        Share of the rows of either side that each member holds out, other rows than
        the other members; at most 4,096 rows over all members.
    n_iter_no_change : int, default=1000
        Steps without a better held-out risk after which the learning rate decays, or
        the fit ends if nothing has beaten the start.
    tol : float, default=0.0
        Least improvement of the held-out risk that counts, in the network's units; a
        fit that gains less keeps its start.
    hj_weight : float, default=1.0
        Weight of the Hamilton-Jacobi residual.
    momentum_weight : float, default="auto"
        Weight of the change of momentum along characteristics ("dual" only); "auto":
        0.3, and 1 with classes.
    dual_weight : float, default=1.0
        Weight of the semi-dual objective ("dual" only).
    hopf_lax_weight : float, default=10.0
        Weight of the violation of the Hopf-Lax formula ("dual" only).
    mmd_weight : float, default="auto"
        Weight of the discrepancy between mapped rows and the other side, both ways;
        "auto": 0 for "dual", 10 for "mmd"; with classes 10 and 30.
    kernel : {"energy", "gaussian", "laplace"}, default="energy"
        Kernel of that discrepancy; the last two are sums over four scales.
    net : skorch.NeuralNet, default=None
        A net to train with, such as :class:`~sk_ncf.training.NCFNet` with another
        optimiser or module; a grid search reaches ``net__optimizer__weight_decay``.
    callbacks : list of skorch callbacks, default=None
        Added to the package's own.
    device : str, default="auto"
        Torch device of the training and of the map, such as "cpu", "cuda" or "mps" (in
        float32 only); "auto": "cuda" if there is one, else "cpu". A net with an
        accelerator trains on that one's device.
    warm_start : bool, default=False
        Start from the weights of the last fit; its map is kept unless a better one is
        found.
    checkpoint : str or path-like, default=None
        Folder, made if need be, where :meth:`fit` (not :meth:`partial_fit`) writes what
        it needs to go on, after the first epoch that ends ten seconds after the last
        writing. The same fit, run again after a crash or an interruption, goes on from
        there to the same result. Needs a `random_state`. A fit that ends by itself
        removes its file.
    verbose : int, default=0
        1 shows a progress bar on fits of more than two seconds; 2 also prints a line
        per epoch.
    random_state : int, RandomState instance or None, default=None
        Seed of initial weights, minibatches and held-out rows. None draws it from
        NumPy's global generator; no other global generator is ever used.

    Attributes
    ----------
    n_features_in_ : int
        Number of features, d.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X has string names.
    cost_ : Cost
        The cost.
    flow_ : CharacteristicFlow
        Potential and maps in the network's variables, on the CPU; of all classes.
    preconditioners_ : list of Preconditioner
        Changes of variables between the data and the network, one for every class.
    classes_ : ndarray of shape (n_classes,)
        The classes, with `class_conditional`.
    classifier_, target_classifier_ : classifier
        With ``class_conditional="label"``: what predicts the class, as its place in
        `classes_`, of source rows and of target rows. The second is None without
        target rows.
    named_share_, named_accuracy_ : float
        With `class_conditional`: share of the target rows that had no label and were
        named by a self-trained classifier, and how often that is right on labels that
        were held out from it (nan where a class has but one).
    net_ : skorch.NeuralNet
        The net that hosted the training.
    history_ : skorch.history.History
        Its record: loss, held-out risk and criterion of every epoch.
    n_iter_ : int
        Gradient steps taken.
    best_iter_ : int, or ndarray of int of shape (n_classes,)
        Step of the weights that were kept; 0 is the start. With
        ``class_conditional="label"`` one of every class.
    stop_reason_ : str
        Why training ended: "converged", "max_iter", "start" (nothing beat the start),
        "diverged", "interrupted", "stream" (:meth:`partial_fit`) or "too_few_rows".

    See Also
    --------
    sklearn.preprocessing.QuantileTransformer : One-dimensional maps, feature by feature.
    sklearn.preprocessing.PowerTransformer : Parametric maps to normality.

    Notes
    -----
    The map is a gradient: where the true optimal map jumps (modes torn apart), the
    learnt one bridges the gap steeply. Far from the training rows it is extrapolation.

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
    >>> np.abs(transport.transform(X).mean(axis=0) - Y.mean(axis=0)).max() < 0.1
    np.True_
    >>> mapped = transport.transform(X)
    >>> np.abs(transport.inverse_transform(mapped) - X).max() < 0.1
    np.True_
    """

    _parameter_constraints: dict = {
        "cost": [StrOptions(set(COSTS)), Cost],
        "cost_params": [dict, None],
        "objective": [StrOptions({"dual", "mmd"})],
        "class_conditional": ["boolean", StrOptions({"label", "shared"})],
        "classifier": [HasMethods(["fit", "predict"]), None],
        "output_distribution": [StrOptions({"normal", "uniform"}), callable],
        "default_domain": [StrOptions({"source", "target"})],
        "n_members": [StrOptions({"auto"}), Interval(Integral, 1, 1024, closed="both")],
        "hidden_layer_sizes": [StrOptions({"auto"}), tuple, list],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 2, 2**24, closed="both"),
        ],
        "learning_rate_init": [
            StrOptions({"auto"}),
            Interval(Real, 0, LARGE, closed="right"),
        ],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, LARGE, closed="both")],
        "hj_weight": [Interval(Real, 0, LARGE, closed="both")],
        "momentum_weight": [
            StrOptions({"auto"}),
            Interval(Real, 0, LARGE, closed="both"),
        ],
        "dual_weight": [Interval(Real, 0, LARGE, closed="both")],
        "hopf_lax_weight": [Interval(Real, 0, LARGE, closed="both")],
        "mmd_weight": [StrOptions({"auto"}), Interval(Real, 0, LARGE, closed="both")],
        "kernel": [StrOptions(set(KERNELS))],
        "net": [NeuralNet, None],
        "callbacks": [list, tuple, None],
        "device": [str, torch.device],
        "warm_start": ["boolean"],
        "checkpoint": [str, PathLike, None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    # Routed without any set_*_request call. score does not ask for X_target: the rows
    # a fit was given are not held out.
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
        cost="sqeuclidean",
        cost_params=None,
        objective="dual",
        class_conditional=False,
        classifier=None,
        output_distribution="normal",
        default_domain="source",
        n_members="auto",
        hidden_layer_sizes="auto",
        batch_size="auto",
        learning_rate_init="auto",
        max_iter="auto",
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=1000,
        tol=0.0,
        hj_weight=1.0,
        momentum_weight="auto",
        dual_weight=1.0,
        hopf_lax_weight=10.0,
        mmd_weight="auto",
        kernel="energy",
        net=None,
        callbacks=None,
        device="auto",
        warm_start=False,
        checkpoint=None,
        verbose=0,
        random_state=None,
    ):
        self.cost = cost
        self.cost_params = cost_params
        self.objective = objective
        self.class_conditional = class_conditional
        self.classifier = classifier
        self.output_distribution = output_distribution
        self.default_domain = default_domain
        self.n_members = n_members
        self.hidden_layer_sizes = hidden_layer_sizes
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.hj_weight = hj_weight
        self.momentum_weight = momentum_weight
        self.dual_weight = dual_weight
        self.hopf_lax_weight = hopf_lax_weight
        self.mmd_weight = mmd_weight
        self.kernel = kernel
        self.net = net
        self.callbacks = callbacks
        self.device = device
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.verbose = verbose
        self.random_state = random_state

    @_all_or_nothing
    @with_callbacks
    def fit(
        self,
        X,
        y=None,
        *,
        X_target=None,
        y_target=None,
        sample_domain=None,
        sample_weight=None,
        target_weight=None,
    ):
        """Fit the map from the source rows to the target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows; or rows of both sides, told apart by `sample_domain`.
        y : array-like of shape (n_samples,), default=None
            Labels of the rows of X, needed with `class_conditional` and unread without.
            Missing (-1, NaN or None) for target rows only.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target rows. Without any, X is carried to `output_distribution`.
        y_target : array-like of shape (n_target_samples,), default=None
            Labels of the rows of X_target with `class_conditional`; -1, NaN or None
            where they are missing.
        sample_domain : int or array-like of shape (n_samples,), default=None
            Rows of X with values >= 0 are source, < 0 target.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows of X, >= 0. A row of weight 2 counts as two rows.
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
        """
        self._check_parameters()
        source, target = both_sides(
            self,
            X,
            y,
            X_target,
            y_target,
            sample_domain,
            sample_weight,
            target_weight,
            reset=True,
        )
        previous = self.flow_ if self.warm_start and hasattr(self, "flow_") else None
        self.cost_ = make_cost(clone(self.cost, safe=False), self.cost_params)
        pairs, labels, pooled = self._pairs(source, target)
        session = FitSession(self, pairs, pooled)
        return self._keep(session, session.run(previous), labels)

    @_all_or_nothing
    def partial_fit(
        self,
        X,
        y=None,
        *,
        X_target=None,
        y_target=None,
        sample_domain=None,
        sample_weight=None,
        target_weight=None,
    ):
        """Train for one pass over these rows, from where the last call left off.

        The change of variables is that of the first call. Some rows of every call are
        held out, and the weights that score best on those of all calls are used.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows; or rows of both sides, told apart by `sample_domain`.
        y : array-like of shape (n_samples,), default=None
            Labels of the rows of X, needed with `class_conditional` and unread without.
            Missing (-1, NaN or None) for target rows only.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target rows. Without any, X is carried to `output_distribution`.
        y_target : array-like of shape (n_target_samples,), default=None
            Labels of the rows of X_target with `class_conditional`; -1, NaN or None
            where they are missing.
        sample_domain : int or array-like of shape (n_samples,), default=None
            Rows of X with values >= 0 are source, < 0 target.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows of X, >= 0.
        target_weight : array-like of shape (n_target_samples,), default=None
            Weights of the rows of X_target, >= 0.

        Returns
        -------
        self : NCFTransport
        """
        self._check_parameters()
        first = not hasattr(self, "flow_")
        source, target = both_sides(
            self,
            X,
            y,
            X_target,
            y_target,
            sample_domain,
            sample_weight,
            target_weight,
            reset=first,
        )
        if first:
            self.cost_ = make_cost(clone(self.cost, safe=False), self.cost_params)
        else:
            self._check_goes_on()
        known = None if first else self._labels
        pairs, labels, pooled = self._pairs(source, target, known)
        if first:
            session = FitSession(self, pairs, pooled, stream=True)
        else:
            session = self._session.resumed()
            session.feed(self, pairs)
        return self._keep(session, session.run(None if first else self.flow_), labels)

    def _check_parameters(self):
        self._validate_params()
        resolve_device(self.device)
        if isinstance(self.classifier, type):
            raise ValueError(
                f"classifier must be an instance, got the class {self.classifier!r}."
            )
        if self.class_conditional == "shared" and self.objective != "mmd":
            raise ValueError(
                "class_conditional='shared' needs objective='mmd', got "
                f"objective={self.objective!r}: a map that is shared by classes is not "
                "the optimal one, which the semi-dual objective would look for."
            )

    def _check_goes_on(self):
        was = False
        if self._labels is not None:
            was = "label" if self._maps_by_class() else "shared"
        now = self.class_conditional and (
            "shared" if self.class_conditional == "shared" else "label"
        )
        if was != now:
            raise ValueError(
                f"class_conditional must stay what it was in the first call, {was!r}, "
                f"got {now!r}."
            )

    def _pairs(self, source, target, known=None):
        """Rows of every class, what is known of the classes, moments of small ones."""
        if not self.class_conditional:
            return [(source, target)], None, {}
        rng = check_random_state(self.random_state if known is None else 0)
        return pairs_of_classes(self, source, target, rng, known)

    def _keep(self, session, result, labels):
        """Fitted attributes of a finished session."""
        self.flow_, self.net_ = result.flow, result.net
        self.preconditioners_ = session.preconditioners
        self.history_ = [] if result.net is None else result.net.history
        self.n_iter_, self.best_iter_ = result.n_iter, result.best_iter
        self.stop_reason_ = result.stop_reason
        if session.n_potentials == 1:
            self.best_iter_ = int(result.best_iter[0])
        self._score_rows = session.score_rows
        self._session = session.suspended()
        self._labels = labels
        self._keep_labels(labels, result)
        if result.message:
            warnings.warn(result.message, ConvergenceWarning, stacklevel=4)
        return self

    def _keep_labels(self, labels, result):
        for name in OF_CLASSES:  # of an earlier fit
            vars(self).pop(name, None)
        if labels is None:
            return
        self.classes_ = labels.classes
        self.named_share_ = labels.named_share
        self.named_accuracy_ = labels.named_accuracy
        if not labels.by_class:
            return
        self.classifier_ = labels.classifier
        self.target_classifier_ = labels.target_classifier
        if result.small.any():
            names = self.classes_[result.small].tolist()
            more = f" and {len(names) - 20} more" if len(names) > 20 else ""
            warnings.warn(
                "Classes with too few rows for more keep the Gaussian map of their rows, "
                f"the mean shift where there is one row: {names[:20]}{more}.",
                UserWarning,
                stacklevel=5,
            )

    @_all_or_nothing
    def fit_transform(
        self,
        X,
        y=None,
        *,
        X_target=None,
        y_target=None,
        sample_domain=None,
        sample_weight=None,
        target_weight=None,
    ):
        """Fit, then map the source rows of X.

        With `default_domain="target"` and `X_target`, the rows of X are the source and
        are mapped here, while later rows without `sample_domain` pass through
        :meth:`transform`. With ``class_conditional="label"`` the rows are mapped by
        their true class y, whereas ``fit(X, y).transform(X)`` predicts it: the results
        may differ.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows; or rows of both sides, told apart by `sample_domain`.
        y : array-like of shape (n_samples,), default=None
            Labels of the rows of X, needed with `class_conditional` and unread without.
            Missing (-1, NaN or None) for target rows only.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target rows.
        y_target : array-like of shape (n_target_samples,), default=None
            Labels of the rows of X_target with `class_conditional`; -1, NaN or None
            where they are missing.
        sample_domain : int or array-like of shape (n_samples,), default=None
            Rows of X with values >= 0 are source, < 0 target.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows of X.
        target_weight : array-like of shape (n_target_samples,), default=None
            Weights of the rows of X_target.

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
        label = y if self._maps_by_class() else None
        return self.transform(X, sample_domain=sample_domain, sample_label=label)

    @one_thread_after_fork()
    def transform(self, X, *, sample_domain=None, sample_label=None):
        r"""Map source rows, :math:`T(x) = x + \nabla H(\nabla u(x, 0))`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_domain : int or array-like of shape (n_samples,), default=None
            Rows with values >= 0 are mapped, the others returned as they are; None
            takes `default_domain` for all.
        sample_label : label or array-like of shape (n_samples,), default=None
            Classes of the rows, for ``class_conditional="label"`` (unread otherwise);
            where it is None, or a label missing, `classifier_` predicts.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features)
        """
        fitted, rows, mask = self._to_map(X, sample_domain)
        moving = rows_where(mask, rows)
        codes = self._codes(moving, sample_label, mask)
        return _replaced(rows, mask, fitted.forward(moving, codes))

    @one_thread_after_fork()
    def inverse_transform(self, X, *, sample_domain=None, sample_label=None):
        r"""Map target rows back, :math:`T^{-1}(y) = y - \nabla H(\nabla u(y, 1))`.

        Three damped steps of :math:`x \leftarrow y - \nabla H(\nabla u(x, 0))` refine
        the foot of the characteristic.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_domain : int or array-like of shape (n_samples,), default=None
            Rows with values < 0 are mapped back, the others returned as they are; None
            takes all rows for target rows, whatever `default_domain` is.
        sample_label : label or array-like of shape (n_samples,), default=None
            Classes of the rows, for ``class_conditional="label"`` (unread otherwise);
            where it is None, or a label missing, `target_classifier_` predicts.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features)
        """
        sample_domain = -1 if sample_domain is None else sample_domain
        fitted, rows, mask = self._to_map(X, sample_domain, source=False)
        moving = rows_where(mask, rows)
        codes = self._codes(moving, sample_label, mask, source=False)
        return _replaced(rows, mask, fitted.inverse(moving, codes))

    @one_thread_after_fork()
    def interpolate(self, X, t, *, sample_domain=None, sample_label=None):
        r"""Displacement interpolation :math:`T_t(x) = x + t (T(x) - x)`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        t : float or array-like of shape (n_samples,)
            Time in [0, 1]: 0 gives X, 1 the mapped rows.
        sample_domain : int or array-like of shape (n_samples,), default=None
            As in :meth:`transform`.
        sample_label : label or array-like of shape (n_samples,), default=None
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
        t = as_array("t", t)
        number = t.dtype.kind in "iufb" and t.shape in ((), (len(rows),))
        if not number or not ((t >= 0) & (t <= 1)).all():
            raise ValueError(
                f"t must be a number in [0, 1] or {len(rows)} of them, got {t!r}."
            )
        share, part = t[mask, None] if t.ndim else t, rows[mask]
        codes = self._codes(part, sample_label, mask)
        moved = (1 - share) * part + share * fitted.forward(part, codes)
        return _replaced(rows, mask, moved.astype(rows.dtype, copy=False))

    def _to_map(self, X, sample_domain, source=True):
        """The fitted map, the checked rows and the mask of those to be mapped."""
        check_is_fitted(self)
        rows = checked_rows(self, X)
        mask = source_rows(sample_domain, len(rows), self.default_domain)
        return self._transport_map(), rows, mask if source else ~mask

    def _maps_by_class(self):
        return self._labels is not None and self._labels.by_class

    def _codes(self, rows, label, mask=None, source=True, name="sample_label"):
        """Classes of rows by number; None where there is one map for all."""
        if not self._maps_by_class():
            return None
        mask = np.ones(len(rows), dtype=bool) if mask is None else mask
        if label is None or as_array("sample_label", label).ndim == 0:
            label = [label] * len(mask)
        labels = checked_labels(name, label, len(mask))[mask]
        return self._labels.codes(rows, labels, source, name)

    def _transport_map(self):
        return TransportMap(
            self.flow_, self.preconditioners_, resolve_device(self.device)
        )

    def __dask_tokenize__(self):
        # Dask names its tasks by what their functions hold.
        return type(self).__name__, joblib.hash(self)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        conditional = self.class_conditional
        known = isinstance(conditional, (str, bool, np.bool_))  # not checked yet
        tags.target_tags.required = known and bool(conditional)
        return tags


def _replaced(rows, mask, mapped):
    """`rows` with those of `mask` replaced; the caller's array is not touched."""
    if mask.all():
        return mapped
    rows = rows.copy()
    rows[mask] = mapped
    return rows
