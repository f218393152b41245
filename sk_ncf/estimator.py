"""NCFTransport: an optimal transport map as a scikit-learn transformer."""

import copy
import warnings
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
import torch
from scipy.special import ndtri
from scipy.stats import qmc
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from sk_ncf.costs import Cost, check_cost, make_cost
from sk_ncf.flow import CharacteristicFlow
from sk_ncf.losses import KERNELS
from sk_ncf.preconditioner import Preconditioner
from sk_ncf.sampling import PairSampler, matched_to, split_rows, unique_rows
from sk_ncf.training import (
    HeldOutRisk,
    Objective,
    PlateauCosine,
    ProgressBar,
    WeightAverage,
    build_net,
    train,
)

try:  # scikit-learn >= 1.9, experimental
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # pragma: no cover

    class CallbackSupportMixin:
        """Older scikit-learn: no callbacks through meta-estimators."""

    def with_callbacks(method):
        """Older scikit-learn: nothing to manage."""
        return method


