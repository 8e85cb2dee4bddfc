"""Displays draw what the functions say, on any axes."""

import sys

import numpy as np
import pytest

from skfm import FFMClassifier, FMClassifier, FMRegressor
from skfm.inspection import InteractionDisplay, LossCurveDisplay, field_interactions

from .common import small_clicks

pytest.importorskip("matplotlib").use("Agg")
from matplotlib import pyplot  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def clicks():
    return small_clicks()


def fit(clicks, y=None, cls=FFMClassifier, **params):
    fields = {"fields": clicks.fields} if cls is FFMClassifier else {}
    model = cls(random_state=0, max_iter=3, **fields, **params)
    return model.fit(clicks.X, clicks.y if y is None else y)


def test_each_pair_of_fields_is_drawn_once(clicks):
    model = fit(clicks)
    names = np.array(["one", "two", "three", "four"])[clicks.fields]
    display = InteractionDisplay.from_estimator(model, clicks.X, fields=names)
    strengths = field_interactions(model, clicks.X).strengths
    shown = display.im_.get_array()
    for row in range(3):
        for column in range(3):
            if column <= row:
                assert shown[row, column] == strengths[row + 1, column]
            else:
                assert shown.mask[row, column]
    labels = [
        [text.get_text() for text in axis.get_ticklabels()]
        for axis in (display.ax_.yaxis, display.ax_.xaxis)
    ]
    assert labels == [["two", "three", "four"], ["one", "two", "three"]]
    digits = 1 - int(np.floor(np.log10(strengths.max())))  # two of the largest number
    assert [text.get_text() for text in display.text_] == [
        f"{strengths[a, b]:.{digits}f}" for a in range(4) for b in range(a)
    ]


def test_what_a_field_does_by_itself_is_drawn(clicks):
    X = clicks.X + clicks.X[::-1]
    display = InteractionDisplay.from_estimator(fit(clicks).fit(X, clicks.y), X)
    assert display.im_.get_array().shape == (4, 4)
    assert len(display.text_) == 10


def test_one_field_is_refused(clicks):
    with pytest.raises(ValueError, match="two fields or more, got 1"):
        InteractionDisplay(np.zeros((1, 1)), ["a"]).plot()
    with pytest.raises(ValueError, match="two fields or more, got 1"):
        InteractionDisplay.from_estimator(fit(clicks), clicks.X, fields=["a"] * 48)


def test_rows_are_drawn_as_asked(clicks):
    model, draw = fit(clicks), {"max_samples": 50, "random_state": 3}
    display = InteractionDisplay.from_estimator(model, clicks.X, **draw)
    expected = field_interactions(model, clicks.X, **draw).strengths
    np.testing.assert_array_equal(display.strengths, expected)
    assert (expected != field_interactions(model, clicks.X).strengths).any()


@pytest.mark.parametrize("size", [(12, 3), (3, 6), (1, 1)])
def test_names_and_numbers_have_room(size):
    _, ax = pyplot.subplots(figsize=size)
    n = 40
    strengths, names = np.ones((n, n)) - np.eye(n), [f"{'long' * 20}{i}" for i in range(n)]
    display = InteractionDisplay(strengths, names).plot(ax=ax, colorbar=False)
    assert display.ax_ is ax
    assert display.text_ == []
    ticks = ax.get_yticks()
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert len(labels) == len(ticks) <= n
    for tick, label in zip(ticks, labels, strict=True):
        assert label.endswith(str(int(tick) + 1)[-1])
        assert "…" in label


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_numbers_stand_out_from_their_cells(style):
    with pyplot.style.context(style):
        strengths = np.array([[0, 1.0, 0], [1, 0, 0.0], [0, 0, 0]])
        display = InteractionDisplay(strengths, [*"abc"]).plot()
        assert [text.get_color() for text in display.text_] == ["black", "white", "white"]


def test_a_class_is_chosen(clicks):
    y = np.array(["x", "y", "z"])[clicks.y + (clicks.categories[:, 0] > 2)]
    model = fit(clicks, y)
    display = InteractionDisplay.from_estimator(model, clicks.X, target="y")
    np.testing.assert_array_equal(
        display.strengths, field_interactions(model, clicks.X).strengths[1]
    )
    with pytest.raises(ValueError, match=r"target must be one of the classes \['x', 'y', 'z'\]"):
        InteractionDisplay.from_estimator(model, None)  # before X is looked at
    with pytest.raises(ValueError, match="target is for more than two classes"):
        InteractionDisplay.from_estimator(fit(clicks), None, target=1)
    assert len(LossCurveDisplay.from_estimator(model).lines_) == 6
    display = LossCurveDisplay.from_estimator(model, target="z")
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), model.loss_curve_[2])
    with pytest.raises(ValueError, match="target must be one of"):
        LossCurveDisplay.from_estimator(model, target="w")
    with pytest.raises(ValueError, match="target is for more than two classes"):
        LossCurveDisplay.from_estimator(fit(clicks), target=1)


@pytest.mark.parametrize("cls", [FMClassifier, FMRegressor])
def test_loss_curves(clicks, cls):
    model = fit(clicks, 100 * clicks.proba if cls is FMRegressor else None, cls)
    _, ax = pyplot.subplots()
    display = LossCurveDisplay.from_estimator(model, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    training, validation = display.lines_
    np.testing.assert_array_equal(training.get_xydata().T, [[1, 2, 3], model.loss_curve_])
    np.testing.assert_array_equal(validation.get_ydata(), -np.array(model.validation_scores_))
    kept = ax.get_lines()[-1].get_xydata()
    assert kept.tolist() == [[model.best_iter_, -model.validation_scores_[model.best_iter_ - 1]]]
    assert ("squared error" in ax.get_ylabel()) == (cls is FMRegressor)


def test_only_training_is_drawn_where_nothing_was_watched(clicks):
    display = LossCurveDisplay.from_estimator(fit(clicks, early_stopping=False))
    assert len(display.lines_) == len(display.ax_.get_lines()) == 1


def test_matplotlib_is_asked_for(clicks, monkeypatch):
    model = fit(clicks)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for call in (
        lambda: LossCurveDisplay.from_estimator(model),
        lambda: InteractionDisplay.from_estimator(model, clicks.X),
        lambda: InteractionDisplay(np.ones((2, 2)), ["a", "b"]).plot(),
    ):
        with pytest.raises(ImportError, match="pip install"):
            call()
    assert field_interactions(model, clicks.X).strengths.any()


def test_axes_and_targets_that_are_none_are_refused(clicks):
    model = fit(clicks, np.arange(len(clicks.y)) % 3, cls=FMClassifier)
    figure = pyplot.figure()
    n_figures = len(pyplot.get_fignums())
    for ax in ("x", 3, [None], np.empty((2, 2)), figure):
        with pytest.raises(TypeError, match="ax must be one matplotlib Axes or None, got "):
            LossCurveDisplay.from_estimator(model, ax=ax)
        with pytest.raises(TypeError, match="ax must be one matplotlib Axes or None, got "):
            InteractionDisplay.from_estimator(model, clicks.X, target=0, ax=ax)
    for target in ([0, 1], np.array([0, 1, 2]), {}, "0"):
        with pytest.raises(ValueError, match=r"target must be one of the classes \[0, 1, 2\]"):
            LossCurveDisplay.from_estimator(model, target=target)
    assert len(pyplot.get_fignums()) == n_figures
