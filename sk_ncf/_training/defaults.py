"""What "auto" stands for."""

__all__ = [
    "FEW_ROWS",
    "MANY_ROWS",
    "auto_ensemble_size",
    "auto_settings",
    "longest_patience",
]


FEW_ROWS = 1024  # whose start errs by more than weights that seem as good would
MANY_ROWS = 30_000  # a budget sees them too few times to learn them by heart
MILLION = 1_000_000  # rows whose places every member would keep
FEW_FEATURES = 4  # which narrow potentials are enough for


def auto_ensemble_size(n_samples, n_features):
    """How many potentials "auto" stands for, with n distinct rows, without classes.

    Rows that are seen often are learnt by heart. What is learnt wrongly then differs
    between potentials of other weights and other rows, and their mean has less of it.
    In few dimensions several narrow ones cost no more than one, and vary less by seed.
    """
    many = MILLION if n_features <= FEW_FEATURES else MANY_ROWS
    return 4 if n_samples < many else 1


def longest_patience(n_rows):
    """Steps without a better risk after which few rows have nothing more to tell.

    They are learnt by heart soon after: of 150 to 250 rows the best weights are those
    of step 100 to 400.
    """
    return 10**9 if n_rows >= 2000 else int(max(300, n_rows / 2))


def auto_settings(n_samples, n_features, ensemble_size, n_classes, shared):
    """What "auto" stands for in the other parameters.

    The more classes, the less each of their potentials has to learn and the fewer rows
    of it there are.
    """
    width = 96 if n_features <= 16 else 128
    depth, batch_size = 4, 256
    if shared:
        width, batch_size = 192, max(32, 512 // n_classes)
    elif n_classes > 1:
        width, depth = (64 if n_classes <= 4 else 48), 3
        batch_size = max(24, batch_size // n_classes)
    elif ensemble_size > 1:
        width, depth, batch_size = (64 if n_features <= FEW_FEATURES else width), 3, 128
    return {
        "hidden_layer_sizes": (width,) * depth,
        "learning_rate_init": 5e-3,
        "batch_size": batch_size,
        "max_iter": int(min(5_000, max(1_000, 2_500 * (n_samples / 4096) ** 0.25))),
    }
