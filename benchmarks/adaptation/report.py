"""Tables of the results: a summary, what the guards choose, and one for each task."""

from collections import defaultdict
from statistics import mean, median

from results import grouped

from adaptation.guard import RULES, decisions
from adaptation.methods import GUARDED, NETWORKS, UNGUARDED

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
    parts += ["## AdaptedClassifier, fit by fit", choices(done)]
    parts += ["## AdaptedClassifier with networks", networks(done)]
    parts += ["## Signs that need no label", guard_table(done)]
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
    """A line for each method: its gains over the source alone, and over the pool.

    Gains are differences of mean accuracy over seeds, case by case: a case is a task
    and a classifier. "better / worse": cases that differ by more than SURE.
    """
    cases = scores(rows)
    found = {name for name, _ in cases}
    others = [name for name in (POOLED, SELF_TRAINED) if name in found]
    header = ["method", "labels", "cases", "accuracy", "mean gain, median"]
    header += [
        f"better / worse (least gain) than {name}" for name in (PLAIN[0], *others)
    ]
    lines = []
    for (method, labels), own in cases.items():
        gains = differences(own, cases.get(PLAIN, {}))
        peers = (differences(own, cases.get((name, labels), {})) for name in others)
        lines.append(
            [method, labels, len(own), f"{mean(own.values()):.3f}"]
            + [average(gains), *map(counts, (gains, *peers))]
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


def average(gains):
    """Mean and median."""
    return f"{mean(gains):+.3f}, {median(gains):+.3f}" if gains else "-"


def counts(gains):
    """How many are clearly above and below zero, and the least."""
    if not gains:
        return "-"
    better, worse = sum(g > SURE for g in gains), sum(g < -SURE for g in gains)
    return f"{better} / {worse} ({min(gains):+.3f})"


def fits(rows, method, value="accuracy"):
    """A value of a method without labels by task, seed and classifier."""
    return {
        tuple(row[k] for k in ("task", "seed", "classifier")): row[value]
        for row in rows
        if (row["method"], row["labels"]) == (method, "none") and "accuracy" in row
    }


def choices(rows):
    """Single fits without labels: gains, and whether the choice of a map was right.

    The choice is right if the accuracy is that of the better one of the source alone and
    the map without the guard. Counted are fits in which these differ by more than SURE.
    """
    plain, own, mapped = (fits(rows, m) for m in (PLAIN[0], GUARDED, UNGUARDED))
    gains = {key: own[key] - plain[key] for key in own if key in plain}
    if not gains:
        return ""
    least = min(gains, key=gains.get)
    case = ", ".join(map(str, least))
    lines = [
        ["fits", len(gains)],
        ["more accurate than source only", sum(g > SURE for g in gains.values())],
        ["less accurate", sum(g < -SURE for g in gains.values())],
        [f"least gain ({case})", f"{gains[least]:+.3f}"],
    ]
    changed = {
        key: mapped[key] - plain[key]
        for key in gains
        if key in mapped and abs(mapped[key] - plain[key]) > SURE
    }
    if changed:
        right = sum(gains[key] >= max(g, 0) - SURE for key, g in changed.items())
        harmful = [key for key, g in changed.items() if g < 0]
        used = sum(gains[key] < -SURE for key in harmful)
        lines += [
            ["the map changes the accuracy", len(changed)],
            ["... and the choice is right", right],
            ["the map lowers the accuracy", len(harmful)],
            ["... and is used", used],
        ]
    return markdown(["without target labels", "number"], lines)


def networks(rows):
    """Means over the fits that were run with Gaussian maps and with networks."""
    values = [
        fits(rows, method, value)
        for value in ("accuracy", "fit_seconds")
        for method in (GUARDED, NETWORKS)
    ]
    cases = defaultdict(list)
    for task, seed, classifier in values[1]:
        if (task, seed, classifier) in values[0]:
            cases[task, classifier].append((task, seed, classifier))
    lines = []
    for case, keys in cases.items():
        means = [mean(of_fit[key] for key in keys) for of_fit in values]
        lines.append([*case, len(keys), *(f"{m:.3f}" for m in means[:2])])
        lines[-1] += [f"{seconds:.2g}" for seconds in means[2:]]
    header = ["task", "classifier", "seeds", "Gaussian maps (default)", "networks"]
    header += ["fit, s", "networks: fit, s"]
    return markdown(header, lines) if lines else ""


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
