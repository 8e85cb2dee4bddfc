"""Displays: what was learned, drawn by matplotlib."""

import numpy as np

from ._compat import check_matplotlib_support
from ._names import unwrap

# Sizes of text in points: what is still read, and what is large enough. A letter is so wide.
_SMALLEST, _LARGEST, _WIDTH = 5.0, 10.0, 0.6

# Characters of a name that are drawn.
_LONGEST_NAME = 28


def _short(name, length=_LONGEST_NAME):
    """A name, without its middle if it is too long: names often differ in their ends."""
    if len(name) <= length:
        return name
    return name[: length // 2] + "…" + name[len(name) - (length - 1) // 2 :]


def _target_number(target, model):
    """The number of a class of a model that is given by its label."""
    classes = getattr(model, "classes_", np.empty(0))
    if len(classes) < 3:
        raise ValueError("target is for more than two classes; this model has one score.")
    found = np.flatnonzero(classes == target) if np.ndim(target) == 0 else ()
    if len(found) != 1:
        raise ValueError(f"target must be one of the classes {classes.tolist()}, got {target!r}.")
    return int(found[0])


def _axes(ax, **figure):
    """Where to draw: on a new figure if `ax` is None."""
    from matplotlib import axes, pyplot

    if ax is None:
        return pyplot.subplots(layout="constrained", **figure)[1]
    if not isinstance(ax, axes.Axes):
        raise TypeError(f"ax must be one matplotlib Axes or None, got {type(ax).__name__}.")
    return ax


class InteractionDisplay:
    """Plot of how much each two fields interact, as a matrix of colors.

    Use :meth:`from_estimator` to create one.

    Parameters
    ----------
    strengths : ndarray of shape (n_fields, n_fields)
        Symmetric.
    names : list of str
        Names of the fields.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the matrix.
    figure_ : matplotlib Figure
        The figure that contains them.
    im_ : matplotlib AxesImage
        The matrix.
    text_ : list of matplotlib Text
        The numbers in the cells; empty if there is no room.

    See Also
    --------
    field_interactions : Compute the numbers of the plot.

    Examples
    --------
    >>> from skfm import FFMClassifier
    >>> from skfm.datasets import make_clicks
    >>> from skfm.inspection import InteractionDisplay
    >>> clicks = make_clicks(2000, n_fields=4, n_categories=10, random_state=0)
    >>> model = FFMClassifier(fields=clicks.fields, random_state=0).fit(clicks.X, clicks.y)
    >>> display = InteractionDisplay.from_estimator(model, clicks.X)  # doctest: +SKIP
    """

    def __init__(self, strengths, names):
        self.strengths, self.names = strengths, names

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        target=None,
        max_samples=5_000,
        random_state=0,
        fields=None,
        feature_names=None,
        ax=None,
        cmap="viridis",
        colorbar=True,
    ):
        """Measure the interactions of a fitted model and draw them.

        Parameters
        ----------
        estimator : estimator or Pipeline
            A fitted estimator of skfm, or a fitted Pipeline that ends with one.
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Rows as `estimator` takes them, at least 2.
        target : object, default=None
            The class whose score to take. Required if there are more than two.
        max_samples : int, default=5000
            Maximum number of rows of `X` to consider, drawn at random. None takes all of them.
        random_state : int, RandomState instance or None, default=0
            Seed of the draw.
        fields, feature_names : array-like of shape (n_features,), default=None
            See :func:`contributions`.
        ax, cmap, colorbar
            See :meth:`plot`.

        Returns
        -------
        display : InteractionDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If `ax` is no Axes.
        ValueError
            If `target` is missing or no class, there is only one field, and as
            :func:`field_interactions`.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        from .inspection import field_interactions

        model, which = unwrap(estimator)[1], ...
        if target is not None or len(getattr(model, "classes_", ())) > 2:
            which = _target_number(target, model)
        found = field_interactions(
            estimator,
            X,
            max_samples=max_samples,
            random_state=random_state,
            fields=fields,
            feature_names=feature_names,
        )
        return cls(found.strengths[which], found.names).plot(ax=ax, cmap=cmap, colorbar=colorbar)

    def plot(self, *, ax=None, cmap="viridis", colorbar=True):
        """Draw the matrix.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a figure that is large enough for the names.
        cmap : str or matplotlib Colormap, default="viridis"
            Colors of the strengths, from 0 to the largest.
        colorbar : bool, default=True
            Whether to draw a color bar.

        Returns
        -------
        display : InteractionDisplay
            This one.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If `ax` is no Axes.
        ValueError
            If there are fewer than two fields.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if len(self.names) < 2:
            raise ValueError(
                f"Interactions are drawn of two fields or more, got {len(self.names)}. Pass "
                "fields= with the field that each column is reported under."
            )
        # Each pair is drawn once; what the entries of one field do, only if it is worth a number.
        largest = np.abs(self.strengths).max(initial=0)
        within = int(np.diagonal(self.strengths).max(initial=0) > 0.1 * largest)
        drawn = np.tril(np.ones_like(self.strengths, bool), within - 1)[1 - within :]
        drawn = drawn[:, : len(drawn)]
        shown = self.strengths[1 - within :][:, : len(drawn)]
        size = min(max(2.5 + 0.3 * len(drawn), 4), 14)
        ax = _axes(ax, figsize=(size + 1, size))
        self.ax_, self.figure_ = ax, ax.figure
        self.im_ = ax.imshow(np.ma.array(shown, mask=~drawn), cmap=cmap, vmin=0, aspect="auto")
        if colorbar:
            ax.figure.colorbar(self.im_, ax=ax).set_label("interaction (std. dev.)")
        _label(ax.xaxis, self.names[: len(drawn)], rotation=90)
        _label(ax.yaxis, self.names[1 - within :])
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        self.text_ = self._write_numbers(shown, drawn)
        return self

    def _write_numbers(self, shown, drawn):
        """Write the numbers into the cells, if these are large enough once all is laid out."""
        self.figure_.draw_without_rendering()
        largest = shown.max(initial=0)
        digits = max(1 - int(np.floor(np.log10(largest))), 0) if largest > 0 else 0
        texts = {(a, b): f"{shown[a, b]:.{digits}f}" for a, b in np.argwhere(drawn).tolist()}
        width, height = _size(self.ax_) / len(drawn)
        longest = max(map(len, texts.values()), default=1)
        size = min(width / ((longest + 1) * _WIDTH), height / 2, _LARGEST)
        if size < _SMALLEST:
            return []
        written = []
        for (a, b), text in texts.items():
            red, green, blue, _ = self.im_.cmap(self.im_.norm(shown[a, b]))
            color = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
            where = {"ha": "center", "va": "center"}
            written.append(self.ax_.text(b, a, text, fontsize=size, color=color, **where))
        return written


def _size(ax):
    """Width and height of some axes in points."""
    return np.array(ax.get_window_extent().size) / ax.figure.dpi * 72


def _label(axis, names, rotation=0):
    """Name the rows or columns of a matrix, in letters and lengths that there is room for."""
    width, height = _size(axis.axes)
    along, across = (width, height) if rotation else (height, width)
    # About a third of the room is for the names themselves.
    cell = 0.65 * along / len(names)
    size = float(np.clip(0.75 * cell, _SMALLEST, _LARGEST))
    length = int(np.clip(0.35 * across / (_WIDTH * size), 6, _LONGEST_NAME))
    step = int(np.ceil(1.1 * size / cell))  # where names would overlap, some are left out
    where = np.arange(0, len(names), step)
    labels = [_short(names[i], length) for i in where]
    axis.set_ticks(where, labels, rotation=rotation, fontsize=size)


class LossCurveDisplay:
    """Plot of the loss of each pass of a fit, in training and on the rows held out.

    Use :meth:`from_estimator` to create one.

    Parameters
    ----------
    curves : dict
        For each score, by its name, a tuple: the training losses of each pass, the validation
        losses (empty if none were watched), and the number of the pass that was kept. The name
        of the only score is "".
    loss_name : str, default="loss"
        Label of the vertical axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the curves.
    figure_ : matplotlib Figure
        The figure that contains them.
    lines_ : list of matplotlib Line2D
        The curves: for each score that of training and, if there is one, that of validation.

    Notes
    -----
    The training loss of a pass scores every row before the model learns from it: in the first
    passes it may lie above the loss on rows held out.

    Examples
    --------
    >>> from skfm import FMClassifier
    >>> from skfm.datasets import make_clicks
    >>> from skfm.inspection import LossCurveDisplay
    >>> clicks = make_clicks(2000, n_fields=4, n_categories=10, random_state=0)
    >>> model = FMClassifier(random_state=0).fit(clicks.X, clicks.y)
    >>> display = LossCurveDisplay.from_estimator(model)  # doctest: +SKIP
    """

    def __init__(self, curves, loss_name="loss"):
        self.curves, self.loss_name = curves, loss_name

    @classmethod
    def from_estimator(cls, estimator, *, target=None, ax=None):
        """Draw the curves of a fitted model.

        Parameters
        ----------
        estimator : estimator or Pipeline
            A fitted estimator of skfm, or a fitted Pipeline that ends with one.
        target : object, default=None
            The class whose losses to draw, if there are more than two. None draws those of all.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a figure.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If `ax` is no Axes.
        NotFittedError
            If `estimator` is not fitted.
        ValueError
            If `target` is no class.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        model = unwrap(estimator)[1]
        training, scores, best = model.loss_curve_, model.validation_scores_, model.best_iter_
        names = [""]
        if isinstance(best, list):
            names = [str(label) for label in model.classes_]
        else:
            training, scores, best = [training], [scores], [best]
        curves = [
            (list(losses), [-score for score in watched], kept)
            for losses, watched, kept in zip(training, scores, best, strict=True)
        ]
        if target is not None:
            number = _target_number(target, model)
            names, curves = names[number : number + 1], curves[number : number + 1]
        loss_name = "log loss" if hasattr(model, "classes_") else "half the squared error"
        return cls(dict(zip(names, curves, strict=True)), loss_name).plot(ax=ax)

    def plot(self, *, ax=None):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a figure.

        Returns
        -------
        display : LossCurveDisplay
            This one.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If `ax` is no Axes.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        from matplotlib.ticker import MaxNLocator

        ax = _axes(ax)
        self.ax_, self.figure_, self.lines_ = ax, ax.figure, []
        several = len(self.curves) > 1
        for name, (training, watched, kept) in self.curves.items():
            # Of several scores each has its color, and dashes tell validation from training.
            label = _short(name) if several else "training"
            (line,) = ax.plot(np.arange(1, len(training) + 1), training, label=label)
            self.lines_.append(line)
            if watched:
                style = {"color": line.get_color(), "linestyle": "--"} if several else {}
                style["label"] = None if several else "validation"
                (line,) = ax.plot(np.arange(1, len(watched) + 1), watched, **style)
                self.lines_.append(line)
                if 0 < kept <= len(watched):
                    label, color = None if several else "kept", line.get_color()
                    ax.plot(kept, watched[kept - 1], "o", color=color, label=label)
        ax.set(xlabel="pass", ylabel=self.loss_name)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        title = "dashed: validation" if several and len(self.lines_) > len(self.curves) else None
        ax.legend(title=title, ncols=1 + (len(self.curves) - 1) // 10)
        return self
