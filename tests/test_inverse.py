"""FieldEncoder gives back the tables that it encoded, as far as its columns tell."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from skfm.preprocessing import FieldEncoder

KINDS = ["auto", "quantile", "squared_log", "value"]


def table(n=500, missing=True):
    rng = np.random.default_rng(0)
    data = pd.DataFrame(
        {
            "site": rng.choice(["a", "b", "<unknown>", "ü=é"], n),
            "number": rng.normal(size=n) * 1000,
            "often": np.where(rng.random(n) < 0.5, 7.0, rng.normal(size=n)),
            "few": rng.choice([2.5, -1.0, 40.0], n),
            "id": rng.integers(0, 5, n),
        }
    )
    if missing:
        for name in ("site", "number", "few"):
            data.loc[rng.random(n) < 0.1, name] = None
    return data


def same(found, expected):
    return [
        (a is None and b is None) or a == b or (a != a and b != b)
        for a, b in zip(found, expected, strict=True)
    ]


@pytest.mark.parametrize("numeric", KINDS)
def test_what_comes_back_is_encoded_as_the_same(numeric):
    data = table()
    encoder = FieldEncoder(numeric=numeric, categorical_features=["id"]).fit(data)
    X = encoder.transform(data)
    back = encoder.inverse_transform(X)
    assert back.shape == data.shape
    assert back.dtype == object
    again = encoder.transform(pd.DataFrame(back, columns=data.columns).infer_objects())
    assert abs(again - X).max() < 1e-5
    dense = encoder.inverse_transform(X.toarray())
    pd.testing.assert_frame_equal(pd.DataFrame(dense), pd.DataFrame(back))


def test_categories_and_numbers_come_back():
    data = table()
    encoder = FieldEncoder(categorical_features=["id"]).fit(data)
    back = pd.DataFrame(encoder.inverse_transform(encoder.transform(data)), columns=data.columns)
    assert all(same(back["site"], data["site"].astype(object).where(data["site"].notna(), np.nan)))
    assert back["id"].tolist() == data["id"].astype(str).tolist()  # as texts
    for name in ("number", "often", "few"):
        np.testing.assert_allclose(back[name].astype(float), data[name], rtol=1e-5, atol=1e-3)
    assert back["few"].dropna().isin([2.5, -1.0, 40.0]).all()


def test_what_was_lost():
    data = table(missing=False)
    encoder = FieldEncoder(max_categories=1).fit(data[["site", "number"]])
    (kept,) = encoder.get_feature_names_out()[:1]
    new = pd.DataFrame(
        {"site": [kept.removeprefix("site="), "new", None], "number": [0, 1e9, None]}
    )
    back = encoder.inverse_transform(encoder.transform(new))
    assert back[:, 0].tolist() == [kept.removeprefix("site="), None, None]
    assert back[1, 1] == pytest.approx(data["number"].max(), rel=1e-6)
    assert np.isnan(back[2, 1])


def test_bins_give_back_their_lower_ends():
    numbers = pd.DataFrame({"n": np.arange(100.0)})
    encoder = FieldEncoder(numeric="quantile", n_bins=4).fit(numbers)
    back = encoder.inverse_transform(
        encoder.transform(pd.DataFrame({"n": [-5.0, 30.0, 99.0, np.nan]}))
    )
    assert back[:3, 0].tolist() == [0.0, 25.0, 75.0]
    assert np.isnan(back[3, 0])
    empty = FieldEncoder().fit(np.full((3, 1), np.nan))
    assert np.isnan(empty.inverse_transform(empty.transform([[1.0]]))[0, 0])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.sampled_from(KINDS))
def test_any_numbers(numbers, numeric):
    X = np.array(numbers)[:, None]
    encoder = FieldEncoder(numeric=numeric, n_bins=5).fit(X)
    encoded = encoder.transform(X)
    back = encoder.inverse_transform(encoded).astype(float)
    if numeric == "value":
        scale = max(np.abs(X).max(), np.std(X))
        np.testing.assert_allclose(back, X, atol=1e-5 * scale + 1e-12)
    elif numeric == "auto":
        np.testing.assert_allclose(back, X, atol=1e-6 * np.abs(X).max())
    else:
        assert abs(encoder.transform(back) - encoded).max() == 0
        assert (back <= X).all()


def test_what_cannot_be_given_back():
    data = table()
    hashed = FieldEncoder(n_buckets=16).fit(data)
    with pytest.raises(ValueError, match="inverse_transform cannot undo the hashing of n_buckets"):
        hashed.inverse_transform(hashed.transform(data))
    encoder = FieldEncoder().fit(data)
    X = encoder.transform(data)
    with pytest.raises(ValueError, match=r"X has 3 columns, but FieldEncoder gives \d+"):
        encoder.inverse_transform(X[:, :3])
    first = encoder.fields_ == 0
    without = csr_array(X.toarray() * ~first)
    with pytest.raises(ValueError, match="in the columns of 'site': every row must have one entry"):
        encoder.inverse_transform(without)
    number = encoder.fields_ == 1
    with pytest.raises(ValueError, match="of 'number': the entries of every row must sum up to 1"):
        encoder.inverse_transform(csr_array(X.toarray() * ~number))
