"""Whether adaptation will help, seen without a single target label.

Circular validation: a model of the adapted source names the target rows, a second model
learns those names, and its errors on the adapted source, whose classes are known, are
counted. Where the names are nonsense there is no way back. Adaptation is expected to
help where the way there and back loses fewer rows with it than without.

Discriminability: how well a classifier tells adapted source rows from target rows it has
not seen; .5 where the two cannot be told apart. Adaptation is expected to help where it
falls.

Information: what the model's answers on target rows tell of the rows, in nats; the
entropy of all answers taken together less the mean entropy of one. Answers that are sure
and of all classes have much. Adaptation is expected to help where it gains ENOUGH; that
threshold was chosen on these very tasks, so what is reported flatters it.
"""

import numpy as np
from scipy.stats import entropy
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from adaptation.methods import model
from adaptation.tasks import fewer

MOST_ROWS = 1000  # of each sample, told apart from the other
ENOUGH = 0.1  # nats
RULES = ("circular", "discriminability", "information")


def circular(adapted, fitted, split, classifier):
    """Accuracy on the adapted source of what was learnt from pseudo-labelled rows."""
    rows = adapted.move(split.Xt)
    names = fitted.predict(rows)
    if len(np.unique(names)) == 1:
        return float((adapted.y == names[0]).mean())
    back = model(type(adapted)(rows, names), classifier)
    return float((back.predict(adapted.X) == adapted.y).mean())


def discriminability(adapted, split):
    """Area under the curve of source against target, cross-validated."""
    sides = [
        fewer(X, None, MOST_ROWS, split.seed)[0]
        for X in (adapted.X, adapted.move(split.Xt))
    ]
    side = np.repeat([0, 1], [len(X) for X in sides])
    folds = StratifiedKFold(3, shuffle=True, random_state=split.seed)
    judge = HistGradientBoostingClassifier(max_iter=50, random_state=0)
    share = cross_val_predict(
        judge, np.concatenate(sides), side, cv=folds, method="predict_proba"
    )
    return float(roc_auc_score(side, share[:, 1]))


def information(adapted, fitted, split):
    """Mutual information of target rows and the model's answers, in nats."""
    share = fitted.predict_proba(adapted.move(split.Xt))
    return float(entropy(share.mean(axis=0)) - entropy(share, axis=1).mean())


def decisions(row, plain):
    """What each rule says of a row, given that of the source only."""
    better = row["circular"] > plain["circular"]
    closer = row["discriminability"] < plain["discriminability"]
    surer = row["information"] > plain["information"] + ENOUGH
    return dict(zip(RULES, (better, closer, surer), strict=True))
