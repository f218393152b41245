"""What a fit has to say when it is over."""

from sklearn.exceptions import ConvergenceWarning

from sk_ncf._samples.outliers import OutlierWarning

__all__ = ["messages_of"]

OF_REASON = {
    "diverged": (
        "Training diverged after {n_iter} steps; the weights of step {best_iter} are "
        "kept (step 0 is the map that training starts from, map_kind_). Try a smaller "
        "learning_rate_init."
    ),
    "interrupted": (
        "Training was interrupted after {n_iter} steps; the best weights so far, those "
        "of step {best_iter}, are kept."
    ),
}
KINDS = {
    "gaussian": "the Gaussian map (that of the means and covariances)",
    "mean_shift": "the mean shift",
    "identity": "no map at all, the identity",
}


def messages_of(session, result):
    """Warnings of a finished fit, pairs of a text and a category.

    Parameters
    ----------
    session : FitSession
    result : FitResult
    """
    if session.n_new.any():
        yield _of_outliers(*session.n_new), OutlierWarning
    if result.stop_reason in OF_REASON:
        steps = result.best_iter.tolist()
        step = steps[0] if len(steps) == 1 else steps
        text = OF_REASON[result.stop_reason]
        yield text.format(n_iter=result.n_iter, best_iter=step), ConvergenceWarning
    elif not session.stream and _kept_start(result).any():
        yield _of_start(result), ConvergenceWarning


def _of_outliers(source, target):
    return (
        f"{source} source and {target} target rows lie far outside the rest, and were "
        "left out of the fit: look at them first. They are mapped like all others."
    )


def _kept_start(result):
    """Classes whose map is not learnt, though there was enough to learn from."""
    single = len(result.kind) == 1
    return (result.kind != "network") & (single | ~result.small)


def _of_start(result):
    kept = _kept_start(result)
    kinds = sorted(set(result.kind[kept]))
    said = " or ".join(KINDS[kind] for kind in kinds)
    where = "" if len(kept) == 1 else f" for {kept.sum()} of {len(kept)} classes"
    why = f"nothing in {result.n_iter} steps of training was better on held-out rows"
    if result.stop_reason == "too_few_rows":
        why = "there are too few rows to train on"
    return f"The fit returns {said}{where} (map_kind_): {why}."
