"""What is called around each pass: the lines of `verbose`, and scikit-learn's callbacks."""

import copy
import threading

from ._training import train


class FitWatch:
    """The tasks of one fit: the fit itself, its outputs if several, and their passes.

    `learner` is the copy of the estimator that is being fitted.
    """

    def __init__(self, estimator, learner, X, y, sample_weight):
        self.learner, self.n_outputs = learner, len(learner._fitted.models)
        self.interrupted = threading.Event()
        several = self.n_outputs > 1
        self.root = estimator._init_callback_context(
            max_subtasks=self.n_outputs if several else learner.max_iter,
            sequential_subtasks=not several,
        )
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.about = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}

    def __enter__(self):
        self.root.call_on_fit_task_begin(**self.about)
        return self

    def __exit__(self, error, *_):
        if error is None:
            self.root.call_on_fit_task_end(**self.about, **self.so_far)

    def tell_of_compiling(self):
        if self.learner.verbose:
            name = type(self.learner).__name__
            print(f"[{name}] compiling; this takes seconds and is kept for later", flush=True)

    @property
    def so_far(self):
        """The model as it is, for callbacks that ask for it."""

        def attributes():
            return vars(self.learner) | {"_fitted": copy.deepcopy(self.learner._fitted)}

        return {"reconstruction_attributes": attributes}

    def train(self, model, number, *how):
        """Train the model of an output, as `train` does, unless another was interrupted."""
        if self.interrupted.is_set():
            model.history.outcome = "interrupted"
            return
        passes = self._passes_of(number)
        train(model, self.learner._fitted.target.loss, passes, *how)
        passes.finish()
        if model.history.outcome == "interrupted":
            self.interrupted.set()

    def _passes_of(self, number):
        """What the training loop of one output talks to."""
        if self.n_outputs == 1:
            return PassWatch(self, self.root, "")
        context = self.root.subcontext(
            task_name="output", task_id=number, max_subtasks=self.learner.max_iter
        )
        context.call_on_fit_task_begin(**self.about, **self.so_far)
        return PassWatch(self, context, f", output {number}", close=True)


class PassWatch:
    """Hears when a pass begins and ends, and may end the training."""

    def __init__(self, fit, context, label, close=False):
        self.fit, self.context, self.label, self.close = fit, context, label, close
        self.task = None

    def begin(self):
        if self.fit.interrupted.is_set():  # on another thread
            raise KeyboardInterrupt
        self.task = self.context.subcontext(task_name="pass")
        self.task.call_on_fit_task_begin(**self.fit.about, **self.fit.so_far)

    def end(self, history, validated):
        """Tell of a finished pass; return whether a callback wants to stop here."""
        learner = self.fit.learner
        if learner.verbose:
            line = f"[{type(learner).__name__}] pass {history.n_passes}{self.label}: "
            losses = learner._fitted.in_units(
                [history.loss_curve[-1], *history.validation_scores[-1:]]
            )
            line += f"training loss {losses[0]:.5g}"
            if validated:
                line += f", validation loss {-losses[1]:.5g}"
            print(line, flush=True)
        task, self.task = self.task, None
        return task.call_on_fit_task_end(**self.fit.about, **self.fit.so_far)

    def finish(self):
        if self.task:  # its pass diverged or was interrupted
            self.task.call_on_fit_task_end(**self.fit.about, **self.fit.so_far)
        if self.close:
            self.context.call_on_fit_task_end(**self.fit.about, **self.fit.so_far)
