"""scikit-learn's own checks, over every option that changes what the estimator does."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from sk_ncf import Cost, NCFTransport, SquaredEuclidean


class Quartic(Cost):
    """A user's own cost: only L, for rows of any number of features."""

    def lagrangian(self, v):
        return v.square().sum(-1) / 2 + v.pow(4).sum(-1) / 4


def _uniform_ball(size, random_state):
    rows = random_state.normal(size=size)
    return rows / (1 + abs(rows))


CONFIGURATIONS = [
    {},
    {"default_domain": "target"},
    {"early_stopping": False},
    {"warm_start": True, "output_distribution": "uniform"},
    {"objective": "mmd"},
    {"objective": "mmd", "kernel": "gaussian", "default_domain": "target"},
    {"cost": "lp", "cost_params": {"p": 1.2}, "mmd_weight": 1.0, "kernel": "laplace"},
    {"cost": "norm_power", "output_distribution": _uniform_ball},
    {"cost": "elastic", "warm_start": True},
    {"cost": "pseudo_huber", "early_stopping": False},
    {"cost": SquaredEuclidean(), "batch_size": 32, "hidden_layer_sizes": (16, 16)},
    {"cost": Quartic(), "objective": "mmd"},
]


@parametrize_with_checks(
    [NCFTransport(max_iter=10, **options) for options in CONFIGURATIONS]
)
def test_scikit_learn_check_passes(estimator, check):
    check(estimator)
