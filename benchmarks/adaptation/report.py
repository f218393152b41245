"""Tables of the results: one a task, a summary, and how often the guard is right."""

from collections import defaultdict
from statistics import mean

from results import grouped

from adaptation.guard import RULES, decisions

KEY = ("task", "seed", "method", "labels", "classifier")
PLAIN = ("source only", "none")
POOLED = "source and labels"
SELF_TRAINED = "self-training, pooled"
SELF_TRAINED_BLIND = "self-training, no labels"
OWN = "AdaptedClassifier"
SURE = 0.005  # a difference of accuracy that counts
NOTES = """\
Accuracy on the half of the target that is held out, mean / worst over seeds; "fit" and
"predict" are mean seconds, the map included. "labels": target rows of each class whose
class is given. One thread.
"""


def markdown(header, lines):
    """A table."""
    table = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in table) + "\n"


def both(values, worst=min):
    """Mean and worst, or a dash."""
    return f"{mean(values):.3f} / {worst(values):.3f}" if values else "-"


def write(rows, path):
    """The whole report."""
    done = [row for row in rows if row["status"] == "ok"]
    parts = ["# Domain adaptation on real data", NOTES, "## Summary", summary(done)]
    parts += ["## Beside self-training and skada", peers(done)]
    parts += ["## The guard", guard_table(done)]
    for (task,), of_task in grouped(done, "task").items():
        table = energies if "energy" in of_task[0] else accuracies
        parts += [f"## {task}", table(of_task)]
    failed = [row for row in rows if row["status"] != "ok"]
    if failed:
        lines = [[*(row[k] for k in KEY), row["status"]] for row in failed]
        parts += ["## Failed", markdown([*KEY, "status"], lines)]
    path.write_text("\n".join(parts))


def accuracies(rows):
    """A line for each method and number of labels, a column for each classifier."""
    classifiers = list(dict.fromkeys(row["classifier"] for row in rows))
    lines = []
    for (method, labels), of_method in grouped(rows, "method", "labels").items():
        by_classifier = grouped(of_method, "classifier")
        values = [[r["accuracy"] for r in by_classifier[(c,)]] for c in classifiers]
        lines.append([method, labels, *map(both, values), *seconds(of_method)])
    return markdown(["method", "labels", *classifiers, "fit, s", "predict, s"], lines)


def seconds(rows):
    """Mean seconds to fit and to predict."""
    for name in ("fit_seconds", "predict_seconds"):
        yield f"{mean(row[name] for row in rows):.2g}"


def energies(rows):
    """Energy distance of moved rows to the target's held-out half."""
    floor = both([row["floor"] for row in rows], max)
    text = f"100 x energy distance to held-out rows; training rows: {floor}.\n\n"
    lines = [
        [method, both([row["energy"] for row in of_method], max), *seconds(of_method)]
        for (method,), of_method in grouped(rows, "method").items()
    ]
    return text + markdown(["method", "distance", "fit, s", "predict, s"], lines)


def summary(rows):
    """A line for each method: its gain over the source alone, and over the pool.

    Gains are differences of mean accuracy over seeds, case by case: a case is a task
    and a classifier.
    """
    cases = scores(rows)
    header = ["method", "labels", "cases", "accuracy", "gain over source only"]
    header += ["least gain", "better / worse"]
    header += [f"better / worse than {name}" for name in (POOLED, SELF_TRAINED)]
    lines = []
    for (method, labels), own in cases.items():
        gains = differences(own, cases.get(PLAIN, {}))
        peers = [cases.get((name, labels), {}) for name in (POOLED, SELF_TRAINED)]
        lines.append(
            [method, labels, len(own), f"{mean(own.values()):.3f}", *spread(gains)]
            + [
                counts(differences(own, peer))
                for peer in (cases.get(PLAIN, {}), *peers)
            ]
        )
    return markdown(header, lines)


def peers(rows):
    """In how many cases AdaptedClassifier is at least as accurate as its peers.

    The best adapter of skada is that with the highest mean over all cases; "each" is the
    adapter of skada that is most accurate in a case on its held-out rows.
    """
    cases = scores(rows)
    skada = {key: own for key, own in cases.items() if key[0].startswith("skada")}
    if not skada:
        return ""
    best = max(skada, key=lambda key: mean(skada[key].values()))
    each = defaultdict(float)
    for own in skada.values():
        for case, value in own.items():
            each[case] = max(each[case], value)
    lines = []
    for (method, labels), own in cases.items():
        if not method.startswith(OWN):
            continue
        trained = cases.get((SELF_TRAINED, labels)) or cases.get(
            (SELF_TRAINED_BLIND, labels), {}
        )
        lines.append(
            [method, labels, *(at_least(own, p) for p in (trained, skada[best], each))]
        )
    header = ["method", "labels", "at or above self-training", best[0], "skada, each"]
    return markdown(header, lines)


def at_least(own, other):
    """In how many cases the first is not clearly less accurate than the second."""
    gains = differences(own, other)
    return f"{sum(g >= -SURE for g in gains)} of {len(gains)}"


def scores(rows):
    """Mean accuracy over seeds, by method and labels, then by case."""
    found = defaultdict(dict)
    rows = [row for row in rows if "accuracy" in row]
    keys = "method", "labels", "task", "classifier"
    for (method, labels, *case), seeds in grouped(rows, *keys).items():
        found[method, labels][tuple(case)] = mean(row["accuracy"] for row in seeds)
    return found


def differences(own, other):
    """Over the cases that both have."""
    return [own[case] - other[case] for case in own if case in other]


def spread(gains):
    """Mean and least."""
    return [f"{f(gains):+.3f}" for f in (mean, min)] if gains else ["-", "-"]


def counts(gains):
    """How many are clearly above and below zero."""
    if not gains:
        return "-"
    return f"{sum(g > SURE for g in gains)} / {sum(g < -SURE for g in gains)}"


def guard_table(rows):
    """How often each rule is right, and the accuracy of who follows it.

    A rule is right where it says that a method helps and it is more accurate than the
    source alone on the held-out half, or that it does not and it is not. Differences of
    at most half a percent are not judged.
    """
    header = ["method", "judged", "truly helps"]
    header += [f"{rule}: right" for rule in RULES]
    header += ["accuracy: never", "always", *RULES]
    lines = []
    for (method,), of_method in grouped(judged(rows), "method").items():
        lines.append([method, *guard_line(of_method)])
    return markdown(header, lines)


def judged(rows):
    """Rows with what the rules say of them and the accuracy of the source alone."""
    keys = "task", "seed", "classifier"
    rows = [row for row in rows if row.get("circular") is not None]
    plain = {
        tuple(row[k] for k in keys): row for row in rows if row["method"] == PLAIN[0]
    }
    for row in rows:
        base = plain.get(tuple(row[k] for k in keys))
        if base is not None and base is not row:
            yield row | {"says": decisions(row, base), "plain": base["accuracy"]}


def guard_line(rows):
    """Counts and accuracies of one method."""
    clear = [row for row in rows if abs(row["accuracy"] - row["plain"]) > SURE]
    helps = [row["accuracy"] > row["plain"] for row in clear]
    right = {
        rule: sum(row["says"][rule] == h for row, h in zip(clear, helps, strict=True))
        for rule in RULES
    }
    followed = [
        mean(row["accuracy" if row["says"][rule] else "plain"] for row in rows)
        for rule in RULES
    ]
    never, always = (mean(row[k] for row in rows) for k in ("plain", "accuracy"))
    yield from (len(clear), sum(helps), *right.values())
    yield from (f"{value:.3f}" for value in (never, always, *followed))
