"""Converts linear models, support vectors, naive Bayes, neighbours, clusters and perceptrons."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np
from onnx import TensorProto

from everfit.compiling.graph import Answer, Block, Graph, Table, refuse
from everfit.compiling.preparing import differences, kernel, squared_distances


def linear(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert what answers ``x @ coef_ + intercept_``."""
    margins = _margins(graph, model, table)
    return Answer(values=graph.flat(margins))


def generalized(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert Poisson, gamma and such regressions: the exponential of a linear model."""
    link = type(attrgetter("_base_loss")(model).link).__name__
    if link not in ("LogLink", "IdentityLink"):
        raise refuse(f"its link is {link}")
    raw = _margins(graph, model, table)
    return Answer(values=graph.flat(graph.node("Exp", raw) if link == "LogLink" else raw))


def linear_classes(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert linear classifiers without probabilities: the side, or the largest margin."""
    margins = _margins(graph, model, table)
    graph.refuse_missing(graph.numbers(table))
    return Answer(values=_decided(graph, margins, len(model.classes_)), margins=margins)


def logistic(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert logistic regression and linear discriminants: sigmoid of one margin, or softmax."""
    margins = _margins(graph, model, table)
    if len(model.classes_) == 2:
        return Answer(scores=graph.pair(graph.sigmoid(margins)), margins=margins)
    return Answer(scores=graph.node("Softmax", margins, axis=1), margins=margins)


def gradient_classes(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert ``SGDClassifier``, whose logistic loss gives probabilities one class at a time."""
    found = linear_classes(graph, model, table)
    if not hasattr(model, "predict_proba") or found.margins is None:
        return found
    if model.loss != "log_loss":
        raise refuse(f"its probabilities come from the loss {model.loss!r}")
    chances = graph.sigmoid(found.margins)
    if len(model.classes_) == 2:
        return Answer(scores=graph.pair(chances), margins=found.margins)
    total = graph.sum(chances, keep=True)
    return Answer(scores=graph.node("Div", chances, total), margins=found.margins)


def _margins(graph: Graph, model: Any, table: Table) -> str:
    block = graph.numbers(table)
    factors = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64)).T
    if factors.shape[0] != block.width:
        raise refuse(f"its coefficients are of the shape {np.shape(model.coef_)}")
    offsets = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64), factors.shape[1:])
    # A coefficient of zero hides a missing value from the product.
    if (factors == 0).all(axis=1).any():
        graph.refuse_missing(block)
    return graph.affine(block.name, factors, offsets)


def _decided(graph: Graph, margins: str, classes: int) -> str:
    if classes > 2:
        return graph.places(margins)
    above = graph.node("Greater", margins, graph.constant(0.0))
    return graph.flat(graph.cast(above, TensorProto.DOUBLE))


def support(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert ``SVR`` and ``NuSVR``."""
    return Answer(values=graph.flat(_support_sums(graph, model, table, model.dual_coef_.T)))


def support_classes(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert ``SVC`` and ``NuSVC``: every pair of classes votes, the first of a tie wins."""
    if hasattr(model, "predict_proba"):
        raise refuse("its probabilities couple pairs of classes (probability=True)")
    classes = len(model.classes_)
    if classes == 2:
        margins = _support_sums(graph, model, table, model.dual_coef_.T)
        return Answer(values=_decided(graph, margins, 2), margins=margins)
    if model.break_ties:
        raise refuse("it breaks ties of its votes (break_ties=True)")
    pairs = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
    owners = np.repeat(np.arange(classes), model.n_support_)
    weights = np.zeros((len(owners), len(pairs)))
    ballots = np.zeros((len(pairs), classes))
    for column, (i, j) in enumerate(pairs):
        weights[owners == i, column] = model.dual_coef_[j - 1, owners == i]
        weights[owners == j, column] = model.dual_coef_[i, owners == j]
        ballots[column, i], ballots[column, j] = 1.0, -1.0
    sums = _support_sums(graph, model, table, weights)
    first = graph.cast(graph.node("Greater", sums, graph.constant(0.0)), TensorProto.DOUBLE)
    # A pair's second class has the vote that its first one has not.
    second = (ballots < 0).sum(axis=0).astype(np.float64)
    return Answer(values=graph.places(graph.affine(first, ballots, second)))


def _support_sums(graph: Graph, model: Any, table: Table, weights: Any) -> str:
    block = graph.numbers(table)
    settings = {
        "gamma": attrgetter("_gamma")(model),
        "degree": model.degree,
        "coef0": model.coef0,
    }
    alike = kernel(graph, block, _dense(model.support_vectors_), model.kernel, settings)
    graph.refuse_missing(block)
    return graph.affine(alike, weights, model.intercept_)


def _dense(values: Any) -> Any:
    return values.toarray() if hasattr(values, "toarray") else values


def gaussian_bayes(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert ``GaussianNB``."""
    apart = differences(graph, graph.numbers(table), model.theta_)
    parts = graph.node("Div", graph.node("Mul", apart, apart), graph.constant(model.var_))
    far = graph.node("Mul", graph.sum(parts, axis=2), graph.constant(-0.5))
    offset = np.log(model.class_prior_) - 0.5 * np.log(2.0 * np.pi * model.var_).sum(axis=1)
    joint = graph.node("Add", far, graph.constant(offset))
    return Answer(scores=graph.node("Softmax", joint, axis=1))


def counted_bayes(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert ``MultinomialNB``, and ``ComplementNB`` of two classes or more."""
    block = graph.numbers(table)
    graph.refuse_missing(block)
    graph.refuse_rows(graph.node("Less", block.name, graph.constant(0.0)))
    is_complement = type(model).__name__ == "ComplementNB"
    if is_complement and len(model.classes_) == 1:
        raise refuse("it knows one class only")
    prior = np.zeros(len(model.classes_)) if is_complement else model.class_log_prior_
    joint = graph.affine(block.name, model.feature_log_prob_.T, prior)
    return Answer(scores=graph.node("Softmax", joint, axis=1))


def bernoulli_bayes(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert ``BernoulliNB``."""
    block = graph.numbers(table)
    graph.refuse_missing(block)
    name = block.name
    if model.binarize is not None:
        above = graph.node("Greater", name, graph.constant(float(model.binarize)))
        name = graph.cast(above, TensorProto.DOUBLE)
    absent = np.log(1 - np.exp(model.feature_log_prob_))
    offset = model.class_log_prior_ + absent.sum(axis=1)
    joint = graph.affine(name, (model.feature_log_prob_ - absent).T, offset)
    return Answer(scores=graph.node("Softmax", joint, axis=1))


def clusters(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert ``KMeans`` and ``MiniBatchKMeans``: the nearest centre."""
    far = squared_distances(graph, graph.numbers(table), model.cluster_centers_)
    return Answer(values=graph.places(far, least=True))


def neighbours(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert k-nearest neighbours of the Euclidean distance.

    Rows at exactly one distance may be told apart in another order than natively; whether that
    changes an answer is for the proof to say.
    """
    weights = model.weights
    if model.effective_metric_ != "euclidean" or weights not in ("uniform", "distance"):
        raise refuse(f"its distance is {model.effective_metric_!r}, weighted by {weights!r}")
    far = squared_distances(graph, graph.numbers(table), _dense(attrgetter("_fit_X")(model)))
    near, places = _nearest(graph, far, model.n_neighbors)
    truth = np.asarray(attrgetter("_y")(model))
    if truth.ndim > 1:
        raise refuse("it has several outputs")
    if hasattr(model, "classes_"):
        found = np.eye(len(model.classes_))[truth]
    else:
        found = truth.astype(np.float64)[:, np.newaxis]
    answers = graph.node("Gather", graph.constant(found), places, axis=0)
    if weights == "uniform":
        summed = graph.node("Div", graph.sum(answers), graph.constant(float(model.n_neighbors)))
    else:
        importance = _importance(graph, graph.node("Sqrt", near))
        wide = graph.node("Unsqueeze", importance, graph.constant([2], np.int64))
        weighed = graph.sum(graph.node("Mul", answers, wide))
        summed = graph.node("Div", weighed, graph.sum(importance, keep=True))
    return (
        Answer(scores=summed) if hasattr(model, "classes_") else Answer(values=graph.flat(summed))
    )


def _nearest(graph: Graph, far: str, count: int) -> tuple[str, str]:
    """Return the smallest distances and whose they are, each of shape (rows, count)."""
    closeness = graph.node("Neg", far)
    near, places = graph.outputs("TopK", closeness, graph.constant([count], np.int64), count=2)
    return graph.node("Neg", near), places


def _importance(graph: Graph, distances: str) -> str:
    """Return one over each distance; beside a distance of zero nothing else counts."""
    zero = graph.node("Equal", distances, graph.constant(0.0))
    flags = graph.cast(zero, TensorProto.DOUBLE)
    any_zero = graph.node("Greater", graph.sum(flags, keep=True), graph.constant(0.0))
    inverse = graph.node("Div", graph.constant(1.0), distances)
    return graph.node("Where", any_zero, flags, inverse)


def _activated(graph: Graph, name: str, kind: str) -> str:
    if kind == "logistic":
        return graph.sigmoid(name)
    return graph.node({"relu": "Relu", "tanh": "Tanh"}[kind], name)


def perceptron(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert ``MLPClassifier`` and ``MLPRegressor``."""
    block = graph.numbers(table)
    graph.refuse_missing(block)
    name = block.name
    for place, (weights, offsets) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        name = graph.affine(name, weights, offsets)
        if place < len(model.coefs_) - 1 and model.activation != "identity":
            name = _activated(graph, name, model.activation)
    if model.out_activation_ == "identity":
        return Answer(values=graph.flat(name))
    if model.out_activation_ == "softmax":
        return Answer(scores=graph.node("Softmax", name, axis=1))
    if len(model.classes_) > 2 or model.n_outputs_ != 1:
        raise refuse(f"its last activation is {model.out_activation_!r} for several labels")
    return Answer(scores=graph.pair(graph.sigmoid(name)))


def constant(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert the dummies that answer one thing."""
    block: Block = graph.numbers(tuple(column for column in table if not column.text))
    none = graph.node(
        "Mul", graph.cast(graph.node("IsNaN", block.name), TensorProto.DOUBLE), graph.constant(0.0)
    )
    nothing = graph.sum(none, keep=True)
    if hasattr(model, "classes_"):
        if model.strategy not in ("prior", "most_frequent"):
            raise refuse(f"it draws lots ({model.strategy})")
        scores = model.predict_proba(np.zeros((1, 1)))[0]
        return Answer(scores=graph.node("Add", nothing, graph.constant(scores)))
    values = graph.node("Add", nothing, graph.constant(float(model.constant_.ravel()[0])))
    return Answer(values=graph.flat(values))
