"""The Markdown table of `tables.py`, its verdicts and its summary line."""

import math
from typing import NamedTuple

from results import grouped

CLEAN = "clean"
OWN = "sk_ncf"
RIVALS = ("quantile", "linear", "exact plan")
SAFE = ("no map", "linear")
BEST_FACTOR, FLOOR_SHARE = 1.1, 0.25  # of the best, and of the noise floor
WORSE_SHARE = 0.1  # of the noise floor: more than that above counts as worse
CORRUPT_FACTOR = 1.5


class Verdict(NamedTuple):
    """What a pair misses; each is the worst ratio over the seeds, None if it passes."""

    best: float | None = None
    no_map: float | None = None
    linear: float | None = None
    corrupt: float | None = None
    complete: bool = True  # every method that the conditions name was run
    clean_only: bool = False  # there are no results with corrupt rows

    @property
    def passes(self):
        """Whether no condition is missed among those that were evaluated."""
        ratios = (self.best, self.no_map, self.linear, self.corrupt)
        return self.complete and all(ratio is None for ratio in ratios)

    @property
    def text(self):
        """A cell of the table."""
        words = {
            "best": "{:.2g} x the best",
            "no_map": "{:.2g} x no map",
            "linear": "{:.2g} x linear",
            "corrupt": "corrupt {:.2g} x clean",
        }
        found = [(k, getattr(self, k)) for k in words]
        missed = [words[k].format(v) for k, v in found if v is not None]
        passed = "pass (clean rows only)" if self.clean_only else "pass"
        return ", ".join(missed) or (passed if self.complete else "not judged")


def verdict(rows):
    """The verdict on the results of one pair."""
    found = {"best": [], "no_map": [], "linear": [], "corrupt": []}
    complete = True
    for (_,), of_seed in sorted(grouped(rows, "seed").items()):
        clean = {r["method"]: r for r in of_seed if r["corruption"] == CLEAN}
        complete &= {OWN, *RIVALS, *SAFE} <= set(clean)
        if OWN in clean:
            _judge(found, clean, [r for r in of_seed if r["corruption"] != CLEAN])
    worst = {name: max(ratios, default=None) for name, ratios in found.items()}
    own = [r for r in rows if r["method"] == OWN]
    clean_only = all(r["corruption"] == CLEAN for r in own)
    return Verdict(**worst, complete=complete, clean_only=clean_only)


def _judge(found, clean, corrupt):
    """Add the ratios of what one seed misses."""
    own, floor = clean[OWN]["energy"], clean[OWN]["floor"]
    best = min((clean[m]["energy"] for m in RIVALS if m in clean), default=math.inf)
    if own > BEST_FACTOR * best + FLOOR_SHARE * floor:
        found["best"].append(_ratio(own, best))
    for key, method in (("no_map", "no map"), ("linear", "linear")):
        other = clean[method]["energy"] if method in clean else math.inf
        if own > other + WORSE_SHARE * floor:
            found[key].append(_ratio(own, other))
    for row in corrupt:
        if row["method"] == OWN and row["energy"] > CORRUPT_FACTOR * own:
            found["corrupt"].append(_ratio(row["energy"], own))


def _ratio(value, other):
    """A quotient, also if the other distance is zero."""
    return value / max(other, 1e-12)


def short(value):
    """Three digits, large numbers as 2e5."""
    if value is None or not math.isfinite(value):
        return "-" if value is None else str(value)
    if value >= 1000:
        return f"{value:.0f}" if value < 1e5 else f"{value:.0e}".replace("e+0", "e")
    return f"{value:.3g}"


def most(rows, measure, corrupt):
    """Largest value of a measure over seeds (and corruptions)."""
    values = [r[measure] for r in rows if (r["corruption"] != CLEAN) == corrupt]
    if any(v is None or math.isnan(v) for v in values):
        return math.nan
    return max(values, default=None)


def clean_and_corrupt(rows, measure):
    """A cell: the worst on clean rows, then the worst with corrupt rows."""
    parts = [most(rows, measure, corrupt) for corrupt in (False, True)]
    return " / ".join(short(v) for v in parts if v is not None) or "-"


def seconds(rows):
    """A cell: most CPU seconds of a clean fit and its map."""
    value = most(rows, "seconds", False)
    return "-" if value is None else f"{value:.1f}"


def line(pair, rows, methods):
    """A row of the table."""
    by_method = {m: [r for r in rows if r["method"] == m] for m in methods}
    first = rows[0]
    correlations = [clean_and_corrupt(by_method[m], "correlation") for m in methods]
    cells = [
        pair,
        f"{first['n']} / {first['m']}, {first['d']}",
        *(clean_and_corrupt(by_method[m], "energy") for m in methods),
        short(max(r["floor"] for r in rows)),
        "; ".join(correlations),
        "; ".join(seconds(by_method[m]) for m in methods),
        verdict(rows).text,
    ]
    return "| " + " | ".join(cells) + " |"


def table(results, methods):
    """Lines of the Markdown table."""
    order = "; ".join(methods)
    head = ["pair", "rows, d", *methods, "noise floor"]
    head += [f"correlation error ({order})", f"CPU seconds ({order})", "verdict"]
    yield "| " + " | ".join(head) + " |"
    yield "|---" * len(head) + "|"
    for (pair,), rows in grouped(results, "pair").items():
        yield line(pair, rows, methods)


def explanation():
    """What the cells mean, before the table."""
    seeds = "worst of the seeds"
    return (
        f"100 x squared energy distance of mapped fresh source rows to fresh target rows: "
        f"clean training rows / with 0.1 % corrupt rows added, {seeds}. Noise floor: the "
        f"expected distance of two samples of the target. Correlation error: largest "
        f"difference between the correlation matrices, clean / corrupt. CPU seconds: fit "
        f"and map, clean. Verdict: what {OWN} misses on any seed, as a ratio of energy "
        f"distances (best: of {', '.join(RIVALS)})."
    )


def summary(results):
    """One line: how many pairs miss what."""
    verdicts = [verdict(rows) for rows in grouped(results, "pair").values()]
    judged = [v for v in verdicts if v.complete]
    count = lambda name: sum(getattr(v, name) is not None for v in judged)
    return (
        f"{len(judged)} pairs judged: {sum(v.passes for v in judged)} pass "
        f"({sum(v.passes and v.clean_only for v in judged)} on clean rows only); "
        f"{count('best')} above {BEST_FACTOR} x the best + {FLOOR_SHARE} x the noise "
        f"floor, {count('no_map')} worse than no map, {count('linear')} worse than the "
        f"linear map, {count('corrupt')} above {CORRUPT_FACTOR} x clean with corrupt "
        f"rows; {initial(results)} clean fits of {OWN} returned the initialization"
    )


def initial(results):
    """How many clean fits of the package returned the map that training starts from."""
    own = [r for r in results if r["method"] == OWN and r["corruption"] == CLEAN]
    return f"{sum(r['kept'] == 0 for r in own)} of {len(own)}"
