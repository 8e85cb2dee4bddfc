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
from sklearn.metrics import log_loss
from sklearn.model_selection import RandomizedSearchCV, train_test_split
from sklearn.pipeline import make_pipeline

from skfm import FFMClassifier, FMClassifier, WideDeepClassifier
from skfm.preprocessing import FieldEncoder

# The same for the regressors.
PARAM_DISTRIBUTIONS = {
    FMClassifier: {
        "l2_factors": loguniform(5e-4, 5e-2),
        "k": [0, 2, 4, 8, 16, 32],
        "learning_rate": loguniform(0.03, 0.3),
    },
    FFMClassifier: {
        "l2_factors": loguniform(5e-4, 5e-2),
        "k": [0, 2, 4, 8],
        "learning_rate": loguniform(0.03, 0.3),
    },
    WideDeepClassifier: {
        "deep_learning_rate": loguniform(0.01, 0.1),
        "hidden_layer_sizes": [(), (32,), (64, 32), (128, 64)],
        "deep_l2": loguniform(1e-4, 1e-2),
        # With crosses: "wide_l1": loguniform(1, 64),
    },
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0].splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000, help="rows to generate")
    parser.add_argument("--settings", type=int, default=10, help="settings to try for each model")
    args = parser.parse_args()
    rows, y, _ = generated(args.rows)
    train, test = train_test_split(np.arange(len(y)), stratify=y, test_size=0.25, random_state=0)
    print(f"{'log loss on test rows':<22}{'defaults':>9}{'tuned':>9}   with")
    for cls, distributions in PARAM_DISTRIBUTIONS.items():
        model = make_pipeline(FieldEncoder(min_frequency=5), cls(random_state=0))
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
        print(f"{cls.__name__:<22}{losses[0]:>9.4f}{losses[1]:>9.4f}   {text}")


if __name__ == "__main__":
    main()
