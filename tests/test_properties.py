"""What holds for samples of every kind, under every cost: properties, by many examples."""

import warnings

import numpy as np
import pytest
from fits import COSTS, quick
from hypothesis import given
from hypothesis import strategies as st
from samples import LAWS, LAYOUTS, pairs, repeatable, rows_of_floats
from sklearn.naive_bayes import GaussianNB

costs = st.sampled_from(sorted(COSTS))
every_cost = pytest.mark.parametrize("cost", COSTS)
SPREAD = [name for name in LAWS if name != "constant"]


def _transport(cost, X, Y, unit=None, **params):
    """A fit of few steps; lengths of the cost in the unit, by default the rows' own."""
    if unit is None:
        rows = np.concatenate([X, Y], dtype=float)
        unit = float(np.abs(rows - rows[0]).max()) or 1.0
    of_cost = dict(COSTS[cost])
    of_cost |= {
        key: unit * of_cost[key] for key in of_cost if key in ("gamma", "delta")
    }
    if "matrix" in of_cost:
        of_cost["matrix"] = np.eye(X.shape[1]) + 0.3
    params = {"max_iter": 5, "hidden_layer_sizes": (8, 8), "batch_size": 16} | params
    return quick(cost=cost, cost_params=of_cost, **params)


def _fit(cost, X, Y, unit=None, **params):
    return _transport(cost, X, Y, unit, **params).fit(X, X_target=Y)


def _all_finite(transport, X, Y):
    """Everything that a fit can be asked for is finite, and of the type of the rows."""
    mapped, back = transport.transform(X), transport.inverse_transform(Y)
    assert mapped.dtype == back.dtype == X.dtype
    assert mapped.shape == X.shape
    assert back.shape == Y.shape
    values = (
        *(mapped, back, transport.interpolate(X, 0.5), transport.score(X)),
        *(transport.transport_cost(X), transport.dual_lower_bound(X, X_target=Y)),
        *transport.dual_potentials(X, X_target=Y),
    )
    assert all(np.isfinite(value).all() for value in values)


@every_cost
@given(pair=pairs(), exponent=st.integers(-30, 30), single=st.booleans())
@repeatable(max_examples=10)
def test_rows_of_any_law_and_unit_give_a_finite_map(cost, pair, exponent, single):
    dtype = np.float32 if single else np.float64
    X, Y = (np.clip(10.0**exponent * rows, -1e35, 1e35).astype(dtype) for rows in pair)
    _all_finite(_fit(cost, X, Y), X, Y)


@every_cost
@given(data=st.data(), width=st.sampled_from([32, 64]))
@repeatable(max_examples=8)
def test_any_numbers_give_a_finite_map_or_are_refused(cost, data, width):
    X, Y = data.draw(rows_of_floats(width))
    transport = _transport(cost, X, Y)
    try:
        transport.fit(X, X_target=Y)
    except ValueError as error:
        # A length of the cost, or its power, next to which the data are nothing.
        assert "cost=" in str(error) or "choose another unit" in str(error)
    else:
        _all_finite(transport, X, Y)


@given(pair=pairs(), cost=costs, seed=st.integers(0, 99))
@repeatable(max_examples=25)
def test_the_order_of_rows_does_not_matter(pair, cost, seed):
    (X, Y), rng = pair, np.random.default_rng(seed)
    places, others = rng.permutation(len(X)), rng.permutation(len(Y))
    weight = rng.integers(1, 4, len(X))
    one = _transport(cost, X, Y).fit(X, X_target=Y, sample_weight=weight)
    other = _transport(cost, X, Y)
    other.fit(X[places], X_target=Y[others], sample_weight=weight[places])
    size = {"rtol": 1e-9, "atol": 1e-9 * np.abs(np.concatenate([X, Y])).max()}
    np.testing.assert_allclose(
        one.transform(X)[places], other.transform(X[places]), **size
    )
    back = one.inverse_transform(Y)[others], other.inverse_transform(Y[others])
    np.testing.assert_allclose(*back, **size)


@given(
    pair=pairs(),
    layout=st.sampled_from(sorted(LAYOUTS)),
    dtype=st.sampled_from(["f2", "f4", "f8", "i1", "i8", "u4", "?"]),
)
@repeatable(max_examples=25)
def test_layout_and_type_of_the_array_do_not_matter(pair, layout, dtype):
    with np.errstate(invalid="ignore"):
        X, Y = (np.clip(np.abs(rows), 0, 100).astype(dtype) for rows in pair)
    laid = [LAYOUTS[layout](rows) for rows in (X, Y)]
    kept = [np.array(rows) for rows in laid]
    single = dtype == "f4" and layout not in ("lists", "objects")
    plain = [rows.astype("f4" if single else "f8") for rows in (X, Y)]
    one = _fit("sqeuclidean", X, Y).fit(laid[0], X_target=laid[1])
    other = _fit("sqeuclidean", *plain)
    np.testing.assert_array_equal(one.transform(laid[0]), other.transform(plain[0]))
    back = one.inverse_transform(laid[1]), other.inverse_transform(plain[1])
    np.testing.assert_array_equal(*back)
    for rows, before in zip(laid, kept, strict=True):
        np.testing.assert_array_equal(np.array(rows), before)


@every_cost
@given(pair=pairs(), power=st.integers(-99, 99))
@repeatable(max_examples=5)
def test_the_unit_does_not_matter(cost, pair, power):
    (X, Y), unit = pair, 2.0**power
    one, other = _fit(cost, X, Y, 1.0), _fit(cost, unit * X, unit * Y, unit)
    # Costs with a length are computed in float64 far from the size of 1, so that what
    # is kept, the start or not, may be the other of two that are as good.
    same_digits = cost not in ("elastic", "pseudo_huber") or abs(power) < 10
    error = 1e-9 if same_digits else 0.05
    close = {"rtol": error, "atol": error * np.abs(np.concatenate([X, Y])).max()}
    mapped, back = other.transform(unit * X) / unit, other.inverse_transform(unit * Y)
    np.testing.assert_allclose(mapped, one.transform(X), **close)
    np.testing.assert_allclose(back / unit, one.inverse_transform(Y), **close)


@every_cost
@given(pair=pairs(most_features=3), shift=st.integers(-1000, 1000))
@repeatable(max_examples=5)
def test_a_shift_of_both_sides_shifts_the_map(cost, pair, shift):
    X, Y = pair  # with two shifts, the initial map may be the identity of one pair only
    moved = X + shift, Y + shift
    one, other = _fit(cost, X, Y), _fit(cost, *moved)
    atol = 1e-3 * np.abs(np.concatenate([X, Y])).max()
    mapped = other.transform(moved[0]) - shift
    np.testing.assert_allclose(mapped, one.transform(X), rtol=1e-3, atol=atol)
    back = other.inverse_transform(moved[1]) - shift
    np.testing.assert_allclose(back, one.inverse_transform(Y), rtol=1e-3, atol=atol)


@every_cost
@given(pair=pairs(SPREAD))
@repeatable(max_examples=5)
def test_the_way_back_leads_home(cost, pair):
    X, Y = pair
    transport = _fit(cost, X, Y, max_iter=20)
    home = transport.inverse_transform(transport.transform(X))
    assert np.abs(home - X).max() <= 0.05 * np.abs(X - X.mean(axis=0)).max()


@every_cost
@given(pair=pairs(SPREAD), rate=st.sampled_from([1e-3, 1e-1, 10.0]))
@repeatable(max_examples=5)
def test_the_map_is_never_worse_than_its_start_on_held_out_rows(cost, pair, rate):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Training diverged")
        options = {"max_iter": 20, "learning_rate_init": rate, "device": "cpu"}
        transport = _fit(cost, *pair, **options)
    if transport.net_ is None:  # too few rows: it is the start
        return
    risk = dict(transport.net_.callbacks_)["held_out_risk"]
    assert (risk.start.gain(risk.measure())[0] >= 0).all()


# GaussianNB divides by the variances, which are zero for equal rows.
@pytest.mark.filterwarnings("ignore::RuntimeWarning:sklearn.naive_bayes")
@given(
    pair=pairs(["normal", "discrete", "heavy-tailed"], most_features=3),
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4),
)
@repeatable(max_examples=12)
@pytest.mark.filterwarnings("ignore:Classes with too few rows:UserWarning")
def test_classes_of_any_number_and_size_give_a_finite_map(pair, sizes):
    y = np.repeat(np.arange(len(sizes)), sizes)
    y = np.r_[y, y[-1]]  # two rows at least
    X, Y = (np.resize(rows, (len(y), pair[0].shape[1])) for rows in pair)
    params = {"class_conditional": "per_class", "classifier": GaussianNB()}
    transport = _transport("sqeuclidean", X, Y, **params)
    transport.fit(X, y, X_target=Y, y_target=y)
    mapped = transport.transform(X, sample_label=y), transport.transform(X)
    assert all(np.isfinite(rows).all() for rows in mapped)
    assert np.isfinite(transport.score(X, y))


@pytest.mark.filterwarnings("ignore:Classes with too few rows:UserWarning")
@pytest.mark.parametrize("n_rare", [1, 2])
def test_a_class_of_one_in_ten_thousand_is_carried_to_its_own(n_rare):
    rng, rare = np.random.default_rng(0), np.arange(10_000 + n_rare) < n_rare
    X, Y = rng.standard_normal((2, len(rare), 2)) + 20 * rare[:, None]
    Y[rare] += 5
    params = {"class_conditional": "per_class", "classifier": GaussianNB()}
    transport = _transport("sqeuclidean", X, Y, **params)
    before = np.random.get_state()
    transport.set_params(classifier=None).fit(X, rare, X_target=Y, y_target=rare)
    assert all(map(np.array_equal, np.random.get_state(), before))
    mapped = transport.transform(X, sample_label=rare)
    wanted = Y[rare].mean(axis=0)
    np.testing.assert_allclose(mapped[rare].mean(axis=0), wanted, atol=0.1)
    assert np.abs(mapped[~rare]).max() < 10
