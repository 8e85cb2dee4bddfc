"""Saved models: those of earlier releases, and what is said of other versions."""

import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest

import skfm
from skfm import FMClassifier, _version
from skfm.preprocessing import FieldEncoder

from .common import every_estimator, few_passes, small_clicks, targets
from .golden.make import encoders, estimators, load_table, unseen

RELEASES = sorted(path.parent for path in Path(__file__).parent.glob("golden/*/expected.npz"))
GOLDEN = sorted(path for folder in RELEASES for path in folder.glob("*.joblib"))


def load_skops(path):
    """Load with trust in nothing but names of skfm."""
    skops = pytest.importorskip("skops.io")
    names = skops.get_untrusted_types(file=path)
    assert all(name.startswith("skfm.") for name in names), names
    return skops.load(path, trusted=names)


@pytest.mark.skipif(".dev" in skfm.__version__, reason="is no release yet")
def test_the_models_of_this_release_are_kept():
    assert any(folder.name == skfm.__version__ for folder in RELEASES)
    for folder in RELEASES:
        names = {path.stem for path in folder.glob("*.joblib")}
        assert names == {path.stem for path in folder.glob("*.skops")}
        assert names == {*np.load(folder / "expected.npz")} - {"rows"}
    now = {name for name, _ in [*encoders(), *estimators()]}
    assert now <= {path.stem for path in GOLDEN if path.parent.name == skfm.__version__}


@pytest.mark.filterwarnings("ignore:This .* was saved by skfm:UserWarning")
@pytest.mark.parametrize("load", [joblib.load, load_skops])
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_models_of_every_release_predict_what_they_predicted(path, load):
    expected = np.load(path.parent / "expected.npz")
    model = load(path if load is joblib.load else path.with_suffix(".skops"))
    if isinstance(model, FieldEncoder):
        found = model.transform(unseen(load_table(path.parent / "table.json"))).toarray()
    elif hasattr(model, "predict_proba"):
        found = model.predict_proba(expected["rows"])
    else:
        found = model.predict(expected["rows"])
    np.testing.assert_allclose(found, expected[path.stem], rtol=1e-6, atol=1e-6)


@few_passes
@every_estimator
def test_skops_and_joblib_keep_every_bit_and_train_on(cls, tmp_path):
    skops = pytest.importorskip("skops.io")
    clicks = small_clicks(60)
    model = cls(2, max_iter=1, random_state=0, solver="ftrl").fit(clicks.X, targets(cls(), clicks))
    joblib.dump(model, tmp_path / "model.joblib")
    skops.dump(model, tmp_path / "model.skops")
    loaded = [joblib.load(tmp_path / "model.joblib"), load_skops(tmp_path / "model.skops")]
    for _ in range(2):
        expected = model.predict(clicks.X)
        for each in loaded:
            np.testing.assert_array_equal(each.predict(clicks.X), expected)
            each.partial_fit(clicks.X, targets(cls(), clicks))
        model.partial_fit(clicks.X, targets(cls(), clicks))


def saved_by(version, thing, monkeypatch):
    """The pickle that another version would write."""
    with monkeypatch.context() as patch:
        patch.setattr(_version, "__version__", version)
        return pickle.dumps(thing)


@few_passes
@pytest.mark.parametrize("thing", [FMClassifier(2, max_iter=1), FieldEncoder()])
def test_another_version_is_named_or_refused(thing, monkeypatch):
    thing.fit(np.eye(4), [0, 1, 0, 1])
    assert vars(pickle.loads(pickle.dumps(thing))).keys() == vars(thing).keys()
    newer = saved_by("0.2.1", thing, monkeypatch)
    with pytest.warns(UserWarning, match=rf"skfm 0\.2\.1 .* by {skfm.__version__}\..* or later"):
        pickle.loads(newer)
    same_release = saved_by(f"{skfm.__version__}.dev0", thing, monkeypatch)
    with pytest.warns(UserWarning, match=r"skfm 0\.1\.0\.dev0 .* predict slightly differently"):
        pickle.loads(same_release)
    older = saved_by("0.0.9", thing, monkeypatch)
    with pytest.raises(ValueError, match=r"saved by skfm 0\.0\.9, which skfm .* cannot read"):
        pickle.loads(older)
    unknown = pickle.dumps(thing).replace(b"_skfm_version", b"_some_version")
    with pytest.raises(ValueError, match=r"saved by skfm before 0\.1\.0"):
        pickle.loads(unknown)
