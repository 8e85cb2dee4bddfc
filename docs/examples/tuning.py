"""
Tuning: what to search, and what it brings
==========================================

The parameters that matter for each model, as distributions for scikit-learn's searches, and
what a random search over them brings on generated clicks. The later a parameter stands, the less
it matters. With few settings or few rows a search may find nothing better than the defaults,
which are not among what it tries.
"""

import argparse

import numpy as np
from quickstart import generated
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import RandomizedSearchCV, train_test_split
from sklearn.pipeline import make_pipeline

from skfm import FFMClassifier, FMClassifier, FwFMClassifier, WideDeepClassifier
from skfm.preprocessing import FieldEncoder

MODELS = {
    "FM": FMClassifier(),
    "FwFM": FwFMClassifier(),
    "FFM": FFMClassifier(),
    "Wide & Deep": WideDeepClassifier(),
    "DeepFM": WideDeepClassifier(interactions=True),
}

# The same for the regressors.
MACHINE = {
    "l2_factors": loguniform(1e-3, 5e-2),
    "k": [4, 8, 16],
    "learning_rate": loguniform(0.05, 0.2),
}
NETWORK = {
    "deep_learning_rate": loguniform(0.02, 0.1),
    "deep_l2": loguniform(3e-4, 1e-2),
    "hidden_layer_sizes": [(32,), (64, 32)],
    # With crosses: "wide_l1": loguniform(1, 64),
}
PARAM_DISTRIBUTIONS = {
    "FM": MACHINE,
    "FwFM": MACHINE,
    "FFM": MACHINE,
    "Wide & Deep": NETWORK,
    "DeepFM": NETWORK,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0].splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000, help="rows to generate")
    parser.add_argument("--settings", type=int, default=10, help="settings to try for each model")
    args = parser.parse_args()
    rows, y, _ = generated(args.rows)
    train, test = train_test_split(np.arange(len(y)), stratify=y, test_size=0.25, random_state=0)
    print(f"{'log loss on test rows':<22}{'defaults':>9}{'tuned':>9}   with")
    for title, distributions in PARAM_DISTRIBUTIONS.items():
        estimator = clone(MODELS[title]).set_params(random_state=0)
        model = make_pipeline(FieldEncoder(min_frequency=5), estimator)
        name = model.steps[-1][0]
        search = RandomizedSearchCV(
            model,
            {f"{name}__{parameter}": values for parameter, values in distributions.items()},
            n_iter=args.settings,
            scoring="neg_log_loss",
            cv=3,
            random_state=0,
        ).fit(rows[train], y[train])
        model.fit(rows[train], y[train])
        losses = [log_loss(y[test], m.predict_proba(rows[test])) for m in (model, search)]
        chosen = {key.split("__")[1]: value for key, value in search.best_params_.items()}
        text = ", ".join(
            f"{key}={value:.2g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in chosen.items()
        )
        print(f"{title:<22}{losses[0]:>9.4f}{losses[1]:>9.4f}   {text}")


if __name__ == "__main__":
    main()
