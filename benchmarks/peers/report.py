"""Table and plot of the arena's results."""

import math
from statistics import mean

from results import grouped

KEY = ("problem", "peer", "setting", "budget", "seed")
HEADER = (
    "peer",
    "setting",
    "budget, s",
    "seeds",
    "forward",
    "inverse",
    "fit, s",
    "rows used",
    "10,000 rows, s",
    "back, s",
    "memory, MB",
    "inverse?",
)
TOY_HEADER = ("excess cost, %", "back, %")
NOTES = """\
Errors are L2-UVP in percent, for toys 100 x squared energy distance to fresh rows; the
worst of the seeds, the other columns are means. Each peer has the row of its documented
settings and that of its best setting on this problem (lowest worst forward error, judged
by the very error shown: a choice a user could not make). Methods that cannot be stopped
fit the most rows that end within the budget ("rows used"), and only that last fit is
timed. Compilation counts as fitting. One thread, one core, a process a fit; memory is the
peak above imports, data and mapping included. Excess cost: transport cost of fresh rows
over that of the exact plan between two fresh samples; below zero the map falls short of
the target.
"""


def worst(rows, name):
    """The worst of the seeds; inf where one is missing or not a number."""
    values = [row.get(name) for row in rows]
    return max(math.inf if v is None or math.isnan(v) else v for v in values)


def chosen(rows):
    """Of each peer and budget, the seeds of the first setting and of the best."""
    for settings in grouped(rows, "peer", "budget").values():
        by_setting = list(grouped(settings, "setting").values())
        first = by_setting[0]
        yield first
        best = min(by_setting, key=lambda seeds: worst(seeds, "forward"))
        if best is not first:
            yield best


def number(value, digits=3):
    """A number of so many digits, or a dash."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if value >= 10**digits else f"{value:.{digits}g}"


def average(rows, name):
    """Mean over the seeds that have a value."""
    values = [row[name] for row in rows if row.get(name) is not None]
    return mean(values) if values else None


def cells(rows, toy):
    """A line of the table."""
    first = rows[0]
    yield from (first["peer"], first["setting"], number(first["budget"]))
    yield str(len(rows))
    done = [row for row in rows if row["status"] == "ok"]
    if len(done) < len(rows):
        yield next(row["status"] for row in rows if row["status"] != "ok")
        yield from [""] * (len(HEADER) - 5 + len(TOY_HEADER) * toy)
        return
    yield from (number(worst(done, name)) for name in ("forward", "inverse"))
    for name in ("seconds", "rows", "forward_seconds", "inverse_seconds", "memory_mb"):
        yield number(average(done, name))
    yield "yes" if first["has_inverse"] else "no"
    if toy:
        for name in ("forward_excess", "inverse_excess"):
            yield number(average(done, name))


def markdown(table):
    """Lines of cells as a table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in table) + "\n"


OURS = "sk_ncf"


def summary(rows):
    """A line a problem: errors of sk_ncf's defaults, and the least of any peer's.

    The two columns of peers may be of different peers or settings.
    """
    table = [
        ["problem", f"{OURS}, forward", "inverse", "best peer, forward", "inverse"],
        ["---"] * 5,
    ]
    for (name, _), of_problem in grouped(rows, "problem", "budget").items():
        settings = grouped(of_problem, "peer", "setting")
        ours = settings.pop((OURS, "default"), None)
        peers = {key: seeds for key, seeds in settings.items() if key[0] != OURS}
        if ours is None or not peers:
            continue
        line = [name, *(number(worst(ours, side)) for side in ("forward", "inverse"))]
        for side in ("forward", "inverse"):
            key = min(peers, key=lambda k, side=side: worst(peers[k], side))
            line.append(f"{number(worst(peers[key], side))} ({key[0]})")
        table.append(line)
    return markdown(table)


def time_to_match(rows):
    """A line a problem: seconds of sk_ncf until it is at the best error of any peer.

    Of any setting and budget in either direction; run several budgets to see something.
    """
    table = [
        ["problem", *["best peer", "its seconds", f"{OURS}, seconds"] * 2],
        ["---"] * 7,
    ]
    for (name,), of_problem in grouped(rows, "problem").items():
        runs = grouped(of_problem, "peer", "setting", "budget")
        ours = [seeds for key, seeds in runs.items() if key[0] == OURS]
        peers = [seeds for key, seeds in runs.items() if key[0] != OURS]
        if not ours or not peers:
            continue
        line = [name]
        for side in ("forward", "inverse"):
            best = min(peers, key=lambda seeds, side=side: worst(seeds, side))
            goal = worst(best, side)
            line += [f"{number(goal)} ({best[0]['peer']})", _seconds(best)]
            there = [seeds for seeds in ours if worst(seeds, side) <= goal]
            line.append(_seconds(min(there, key=_mean_seconds)) if there else "-")
        table.append(line)
    return markdown(table)


def _mean_seconds(rows):
    return average(rows, "seconds") or math.inf


def _seconds(rows):
    return number(average(rows, "seconds"), 2)


def write_table(rows, path):
    """A summary, then a table for each problem, the best forward error first."""
    parts = ["# sk_ncf and its peers", NOTES, summary(rows)]
    parts += ["## Time to the error of the best peer", time_to_match(rows)]
    for (name,), of_problem in grouped(rows, "problem").items():
        toy = of_problem[0]["measure"] == "energy"
        lines = sorted(chosen(of_problem), key=lambda seeds: worst(seeds, "forward"))
        header = HEADER + TOY_HEADER * toy
        parts.append(f"## {name}\n\n{_reference(of_problem, toy)}")
        table = [header, ["---"] * len(header), *(list(cells(r, toy)) for r in lines)]
        parts.append(markdown(table))
    path.write_text("\n".join(parts))


def _reference(rows, toy):
    """The errors to compare with, the worst of the seeds."""
    pairs = [row["reference"] for row in rows if row.get("reference")]
    if not pairs:
        return ""
    what = "Two fresh samples" if toy else "Closed form of the sample's moments"
    both = " / ".join(number(max(side)) for side in zip(*pairs, strict=True))
    return f"{what}: {both}.\n"


def write_plot(rows, path):
    """Errors against seconds of fitting, a panel a problem, a line a peer."""
    try:
        import matplotlib
    except ImportError:
        print("no plot: matplotlib is not installed")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    problems = grouped([row for row in rows if row["status"] == "ok"], "problem")
    if not problems:
        return
    columns = min(3, len(problems))
    height = -(-len(problems) // columns)
    figure, axes = plt.subplots(
        height, columns, figsize=(5 * columns, 4 * height + 1), squeeze=False
    )
    styles = _styles(rows, plt)
    for ax, ((name,), of_problem) in zip(axes.flat, problems.items(), strict=False):
        _panel(ax, name, of_problem, styles)
    for ax in axes.flat[len(problems) :]:
        ax.set_axis_off()
    handles = [
        plt.Line2D([], [], label=peer, **style) for peer, style in styles.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    figure.set_layout_engine("constrained")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _styles(rows, plt):
    """A colour and a marker for each peer."""
    names = list(dict.fromkeys(row["peer"] for row in rows))
    colours = plt.get_cmap("tab10").colors
    return {
        name: {"color": colours[k % 10], "marker": "os^v"[k // 10 % 4]}
        for k, name in enumerate(names)
    }


def _panel(ax, name, rows, styles):
    """Filled markers and full lines forward, hollow and dashed the inverse."""
    sides = (("forward", {}), ("inverse", {"markerfacecolor": "none", "ls": ":"}))
    for (peer, _), of_setting in grouped(rows, "peer", "setting").items():
        budgets = grouped(of_setting, "budget")
        for side, look in sides:
            points = sorted(
                (average(seeds, "seconds"), worst(seeds, side))
                for seeds in budgets.values()
            )
            points = [p for p in points if math.isfinite(p[1]) and p[1] > 0]
            if points:
                ax.plot(*zip(*points, strict=True), **styles[peer], **look, ms=4, lw=1)
    ax.set(xscale="log", yscale="log", title=name, xlabel="seconds of fitting")
    ax.xaxis.set_minor_formatter("")
    ax.set_ylabel("error, worst of the seeds")
