"""Readouts: the same answers as scikit-learn's own, rows left out that were not seen, files without it."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from edgeseq_export import Source, export
from edgeseq_runtime import load
from edgeseq_runtime.errors import MissingPackageError, UsageError
from edgeseq_runtime.signature import BATCH, TIME, Limit, Signature, Tensor
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.svm import SVC
from torch import nn

from edgeseq.fit import ridge, svm
from edgeseq.nn.readout import Readout, check_task, make_readout

ROWS, FEATURES = 90, 6
KINDS = [("ridge", {}), ("logistic", {}), ("svm", {}), ("svm", {"kernel": "linear"}), ("mlp", {"hidden_sizes": [8]})]
NAMES = ["ridge", "logistic", "svm-rbf", "svm-linear", "mlp"]
every_kind = pytest.mark.parametrize(("kind", "settings"), KINDS, ids=NAMES)


def clouds(classes: int, seed: int = 0, apart: float = 1.0, features: int = FEATURES) -> tuple[np.ndarray, np.ndarray]:
    """Rows float32 (90, features) around a centre a class, far from 0 and of various widths, and their classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(ROWS) % classes
    centres = rng.normal(0, apart, (classes, features))
    widths = np.linspace(0.2, 2, features)
    return ((centres[y] + rng.normal(0, 0.5, (ROWS, features))) * widths + 4).astype(np.float32), y


def scores(readout: Readout, x: np.ndarray) -> np.ndarray:
    return readout(torch.from_numpy(x)).numpy()


def standard(x: np.ndarray) -> np.ndarray:
    """Centred and divided by one deviation, as readouts that scikit-learn fits have it."""
    centred = x.astype(np.float64) - x.astype(np.float64).mean(0)
    return centred / np.sqrt((centred**2).mean())


@every_kind
@pytest.mark.parametrize("classes", [2, 3])
def test_classes_are_told_apart_in_rows_seen_and_left_out(kind, settings, classes):
    x, y = clouds(classes, apart=2)
    readout = make_readout(kind, FEATURES, classes, **settings)
    found = readout.fit(x, y)
    assert (scores(readout, x).argmax(1) == y).mean() > 0.95
    assert (found.left_out.argmax(1) == y).mean() > 0.9
    assert found.left_out.shape == (ROWS, classes)
    assert np.abs(found.left_out - scores(readout, x)).max() > 1e-3
    assert type(found.chosen["penalty"]) is float


@every_kind
def test_chance_is_what_unseen_rows_score_where_there_is_nothing_to_learn(kind, settings):
    """Were a row left out seen, or another of its group, which all look alike, it would be recognised."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(ROWS // 3), 3)
    y = rng.permutation(ROWS // 3)[groups] % 2
    x = (rng.normal(size=(ROWS // 3, 40))[groups] + rng.normal(0, 0.01, (ROWS, 40))).astype(np.float32)
    penalty = 1e-3 if kind != "svm" else 0.1
    readout = make_readout(kind, 40, 2, penalty=penalty, **settings)
    found = readout.fit(x, y, groups)
    assert (scores(readout, x).argmax(1) == y).mean() > 0.95
    assert 0.2 < (found.left_out.argmax(1) == y).mean() < 0.8
    assert found.chosen == {"penalty": penalty}


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_svm_decides_as_scikit_learn_does(kernel, classes):
    x, y = clouds(classes)
    readout = make_readout("svm", FEATURES, classes, penalty=0.5, kernel=kernel)
    readout.fit(x, y)
    z = standard(x)
    models = [SVC(C=2, kernel=kernel, gamma="scale", tol=1e-5).fit(z, y == number) for number in range(classes)]
    wanted = np.stack([model.decision_function(z) for model in models], 1)
    np.testing.assert_allclose(scores(readout, x), wanted, rtol=1e-4, atol=1e-4)
    union = set(np.concatenate([model.support_ for model in models]))
    assert readout.support_count == (len(union) if kernel == "rbf" else 0)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("features", [FEATURES, 200])
def test_logistic_gives_the_probabilities_of_scikit_learn(classes, features):
    x, y = clouds(classes, features=features)
    readout = make_readout("logistic", features, classes, penalty=0.5)
    readout.fit(x, y)
    model = LogisticRegression(C=2, max_iter=2000).fit(standard(x), y)
    found = torch.softmax(readout(torch.from_numpy(x)), -1).numpy()
    np.testing.assert_allclose(found, model.predict_proba(standard(x)), atol=2e-3)


@pytest.mark.parametrize("classes", [2, 4])
def test_mlp_gives_the_probabilities_of_scikit_learn(classes):
    x, y = clouds(classes)
    readout = make_readout("mlp", FEATURES, classes, penalty=0.1, hidden_sizes=[7, 5])
    readout.fit(x, y, seed=3)
    same = {"hidden_layer_sizes": (7, 5), "alpha": 0.1, "random_state": 3, "batch_size": 32, "max_iter": 300}
    model = MLPClassifier(**same)
    with pytest.warns(match="Maximum iterations"):
        model.fit(standard(x), y)
    found = torch.softmax(readout(torch.from_numpy(x)), -1).numpy()
    np.testing.assert_allclose(found, model.predict_proba(standard(x)), atol=1e-5)


@pytest.mark.parametrize("outputs", [1, 3])
def test_mlp_gives_the_values_of_scikit_learn(outputs):
    x, _ = clouds(2)
    y = np.tanh(standard(x)[:, :outputs]) * 100 + 7
    readout = make_readout("mlp", FEATURES, outputs, penalty=0.1, hidden_sizes=[9])
    found = readout.fit(x, y, seed=3)
    same = {"hidden_layer_sizes": (9,), "alpha": 0.1, "random_state": 3, "batch_size": 32, "max_iter": 300}
    targets = (y - y.mean(0)) / y.std(0)
    model = MLPRegressor(**same)
    with pytest.warns(match="Maximum iterations"):
        model.fit(standard(x), targets if outputs > 1 else targets[:, 0])
    wanted = model.predict(standard(x)).reshape(ROWS, outputs) * y.std(0) + y.mean(0)
    np.testing.assert_allclose(scores(readout, x), wanted, rtol=1e-4)
    assert np.abs(found.left_out - y).mean() < y.std()


@pytest.mark.parametrize("groups", [None, np.arange(ROWS) // 6], ids=["rows", "groups"])
def test_ridge_gives_values_and_classes_as_the_closed_form_has_them(groups):
    x, y = clouds(3)
    for targets, values in ((y, np.eye(3)[y]), (np.eye(3)[y] * 5, np.eye(3)[y] * 5)):
        readout = make_readout("ridge", FEATURES, 3)
        found, wanted = readout.fit(x, targets, groups), ridge(x, values, groups=groups)
        assert found.chosen == {"penalty": wanted.penalty}
        np.testing.assert_array_equal(found.left_out, wanted.left_out)
        np.testing.assert_allclose(scores(readout, x), x @ wanted.weights + wanted.bias, atol=1e-5)


def test_ridge_without_a_penalty_says_where_it_cannot_do_without():
    readout = make_readout("ridge", 2, 1, penalty=0.0)
    with pytest.raises(UsageError, match=r"penalty is 0, .*; penalty must be more than 0"):
        readout.fit(np.ones((5, 2), np.float32), np.arange(5.0)[:, None])


@every_kind
def test_the_same_seed_gives_the_same_readout(kind, settings):
    x, y = clouds(3)
    first, second = (make_readout(kind, FEATURES, 3, **settings) for _ in range(2))
    left_out = [readout.fit(x, y, seed=4).left_out for readout in (first, second)]
    np.testing.assert_array_equal(*left_out)
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@every_kind
def test_scores_are_multiplied_and_nothing_is_trained(kind, settings):
    x, y = clouds(3)
    readout = make_readout(kind, FEATURES, 3, **settings)
    readout.fit(x, y)
    before = scores(readout, x)
    readout.scale_by(2.5)
    np.testing.assert_allclose(scores(readout, x), 2.5 * before, rtol=1e-4, atol=1e-5)
    assert {tensor.dtype for tensor in readout.state_dict().values()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in readout.parameters())


@every_kind
def test_a_readout_is_rebuilt_from_its_state(kind, settings):
    x, y = clouds(3)
    readout = make_readout(kind, FEATURES, 3, **settings)
    readout.fit(x, y)
    again = make_readout(kind, FEATURES, 3, support_vectors=readout.support_count, **settings)
    again.load_state_dict(readout.state_dict())
    np.testing.assert_array_equal(scores(again, x), scores(readout, x))
    steps = x.reshape(9, 10, FEATURES)
    np.testing.assert_allclose(scores(again, steps).reshape(ROWS, 3), scores(readout, x), rtol=1e-4, atol=1e-5)


@every_kind
def test_a_class_without_an_example_is_never_the_answer(kind, settings):
    x, y = clouds(3)
    y = np.array([0, 2, 4])[y]
    readout = make_readout(kind, FEATURES, 5, **settings)
    found = readout.fit(x, y)
    assert set(scores(readout, x).argmax(1)) == {0, 2, 4}
    assert set(found.left_out.argmax(1)) == {0, 2, 4}


@every_kind
@pytest.mark.parametrize("rare", [1, 2])
def test_a_class_of_fewer_rows_than_folds(kind, settings, rare):
    x, y = clouds(2)
    y[:rare] = 2
    found = make_readout(kind, FEATURES, 3, **settings).fit(x, y)
    assert np.isfinite(found.left_out).all()
    assert (found.left_out.argmax(1) == y).mean() > 0.6


@pytest.mark.parametrize(("kind", "settings"), KINDS[1:], ids=NAMES[1:])
def test_where_no_row_can_be_left_out_the_readout_scores_them_itself(kind, settings):
    x, _ = clouds(2)
    readout = make_readout(kind, FEATURES, 2, **settings)
    found = readout.fit(x[:2], np.array([1, 0]))
    np.testing.assert_allclose(found.left_out, scores(readout, x[:2]), rtol=1e-6)


@every_kind
def test_one_class_only_is_refused(kind, settings):
    x, _ = clouds(2)
    with pytest.raises(UsageError, match=r"holds one class only \(number 1\), but at least two are needed"):
        make_readout(kind, FEATURES, 3, **settings).fit(x, np.ones(ROWS, np.int64))


@pytest.mark.parametrize(("kind", "refused"), [("ridge", False), ("mlp", False), ("logistic", True), ("svm", True)])
def test_values_are_refused_by_what_tells_classes_apart(kind, refused):
    x, _ = clouds(2)
    readout = make_readout(kind, FEATURES, 1)
    if refused:
        with pytest.raises(UsageError, match=f"'{kind}' tells classes apart; to forecast values take 'ridge' or 'mlp'"):
            readout.fit(x, x[:, :1])
    else:
        assert readout.fit(x, x[:, :1].astype(np.float64)).left_out.shape == (ROWS, 1)
    check_task(kind, "classify")


@pytest.mark.parametrize(
    ("kind", "penalty", "words"),
    [
        ("ridge", -1.0, "for the readout 'ridge' it must be at least 0"),
        ("mlp", -1.0, "at least 0"),
        ("logistic", 0.0, "for the readout 'logistic' it must be more than 0"),
        ("svm", 0.0, "more than 0"),
    ],
)
def test_a_penalty_out_of_range_is_refused(kind, penalty, words):
    with pytest.raises(UsageError, match=words):
        make_readout(kind, FEATURES, 2, penalty=penalty)


def test_more_rows_than_can_be_compared_are_refused(monkeypatch):
    x, y = clouds(2)
    monkeypatch.setattr(svm, "MOST_ROWS", 50)
    with pytest.raises(UsageError, match="fitted to 90 rows, but at most 50"):
        make_readout("svm", FEATURES, 2).fit(x, y)


@pytest.mark.parametrize(("kind", "module"), [("logistic", "linear_model"), ("svm", "svm"), ("mlp", "neural_network")])
def test_without_scikit_learn_the_extra_is_named(kind, module, monkeypatch):
    x, y = clouds(2)
    monkeypatch.setitem(sys.modules, f"sklearn.{module}", None)
    with pytest.raises(MissingPackageError, match=r"needs scikit-learn: pip install 'edgeseq\[train\]'"):
        make_readout(kind, FEATURES, 2).fit(x, y)


def test_a_readout_that_is_not_fitted_leaves_scikit_learn_alone():
    code = (
        "import sys, torch; from edgeseq.nn.readout import make_readout as make\n"
        "for kind in ('ridge', 'logistic', 'svm', 'mlp'): make(kind, 3, 2, support_vectors=4)(torch.ones(2, 3))\n"
        "print([name for name in ('sklearn', 'scipy') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


class Alone(nn.Module):
    """A readout of every step, as a network that can be exported."""

    def __init__(self, readout: Readout) -> None:
        super().__init__()
        self.readout = readout

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.readout(x)}


@pytest.mark.parametrize(("kind", "settings"), KINDS[1:], ids=NAMES[1:])
def test_a_fitted_readout_is_exported_and_proven(kind, settings, tmp_path):
    x, y = clouds(3)
    readout = make_readout(kind, FEATURES, 3, **settings)
    readout.fit(x, y)
    signature = Signature(
        inputs=(Tensor("x", "float32", (BATCH, TIME, FEATURES), draw={"normal": [4.0, 1.0]}),),
        outputs=(Tensor("logits", "float32", (BATCH, TIME, 3), "step", decision="argmax"),),
        limits={BATCH: Limit(1, None), TIME: Limit(1, None)},
        typical={BATCH: 1, TIME: 5},
        streamable=False,
        reason="a test of whole sequences",
    )
    path = tmp_path / "readout.onnx"
    report = export(Source(Alone(readout).eval(), signature, "readout", "classify", kind), path)
    assert report.passed, report.worst
    assert load(path).verify().passed
