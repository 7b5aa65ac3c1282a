"""From the text of ``everfit.yaml`` to a :class:`Policy`; every problem is reported at once."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, get_args

from everfit.automation import units
from everfit.automation.document import (
    Document,
    Section,
    choices,
    flag,
    number,
    one_of,
    read,
    text,
    texts,
)
from everfit.automation.gates import decode_gates
from everfit.automation.model import (
    Budget,
    DataPolicy,
    MonitorPolicy,
    Policy,
    RetrainPolicy,
    TrainPolicy,
    Trigger,
    TriggerKind,
    TruthPolicy,
)
from everfit.data import How, Role, Segregation, Task, parse_expectations
from everfit.deployment import RollbackRules, parse_rollback, parse_rollout
from everfit.errors import PolicyInvalid, Problem
from everfit.kernel import parse_every
from everfit.training import CandidateSpec, check_candidates

FILE = "everfit.yaml"
METRICS = {
    Task.REGRESSION: ("mae", "rmse", "r2", "mape"),
    Task.CLASSIFICATION: ("accuracy", "f1", "roc_auc", "log_loss"),
    Task.CLUSTERING: ("silhouette",),
}
ROLLOUT = "shadow 1d -> 5% -> 25% -> 100%"
WHEN = ("monthly", "quality worse", "drift that matters")
CALENDAR = ("hourly", "daily", "weekly", "monthly")


def decode(content: str, *, functions: Collection[str] = (), currency: str | None = None) -> Policy:
    """Return the policy written in ``content``.

    ``functions`` are the names of the project's own trainers, which ``train.candidates`` may use;
    ``currency`` is that of the price table, which a budget has to be in.

    Raises
    ------
    PolicyInvalid
        Listing every problem, each with its path and line, what was found and what to write.
    """
    policy, problems = parse(content, functions=functions, currency=currency)
    refuse(problems)
    return policy


def parse(
    content: str, *, functions: Collection[str] = (), currency: str | None = None
) -> tuple[Policy, list[Problem]]:
    """Return the policy, with defaults where it is wrong, and every problem of it.

    Raises
    ------
    PolicyInvalid
        If ``content`` is not YAML.
    """
    document = read(content, name=FILE)
    policy = _policy(document, functions)
    budget = policy.retrain.at_most
    if budget.cost_per_week is not None and currency not in (None, budget.currency):
        document.problem(
            "retrain.at_most.cost_per_week",
            f"{budget.cost_per_week:g} {budget.currency}",
            f"write it in {currency}, in which costs are counted (`currency` in the settings)",
        )
    return policy, document.problems


def refuse(problems: Sequence[Problem]) -> None:
    """Raise PolicyInvalid with ``problems`` if there are any."""
    if problems:
        raise PolicyInvalid.of(
            FILE, problems, hint="Correct them all, then run `everfit check` again."
        )


def param_names(content: str) -> tuple[str, ...]:
    """Return the names below ``train.params``: what the project's own steps may ask for.

    Raises
    ------
    PolicyInvalid
        If ``content`` is not YAML.
    """
    found = read(content, name=FILE).value
    for key in ("train", "params"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return tuple(found) if isinstance(found, Mapping) else ()


def _policy(document: Document, functions: Collection[str]) -> Policy:
    top = Section(document, document.value, "")
    top.require("model", "name the model, such as churn")
    top.require("data", "name the data: {source: FILE, target: COLUMN}")
    task = Task(top.take("task", one_of(*Task), _task_without_word(top)))
    policy = Policy(
        model=top.take("model", _name, "model"),
        task=task,
        data=_data(top.section("data"), task),
        truth=_truth(top.section("truth")),
        train=_train(top.section("train"), task, functions),
        gates=decode_gates(document, top.raw("gate")),
        rollout=top.take("rollout", _rollout, parse_rollout(ROLLOUT)),
        rollback=_rollback(document, top.raw("rollback"), task),
        monitor=_monitor(top.section("monitor")),
        retrain=_retrain(top.section("retrain")),
    )
    top.close()
    return policy


def _task_without_word(top: Section) -> str:
    """Ask for the task instead of guessing it from the data at every start."""
    top.require("task", f"write one of {', '.join(Task)}")
    return Task.REGRESSION


def _name(value: Any) -> str:
    name = text(value)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise ValueError("use up to 64 letters, digits, '-', '_' and '.'; it is part of addresses")
    return name


def _data(section: Section, task: Task) -> DataPolicy:
    if section.value:
        section.require("source", "write a CSV or Parquet file, or a database URL")
        if task is not Task.CLUSTERING:
            section.require("target", "name the column to predict")
    expectations, problems = parse_expectations(section.raw("expect") or {})
    _adopt(section.document, problems, section.below("expect"))
    policy = DataPolicy(
        source=section.take("source", text, ""),
        target=section.take("target", text, None),
        query=section.take("query", text, None),
        time=section.take("time", text, None),
        group=section.take("group", text, None),
        exclude=section.take("exclude", texts, ()),
        roles=section.take("roles", _roles, {}),
        expect=tuple(expectations),
        drop_missing_target=section.take("drop_missing_target", flag, False),
    )
    section.close()
    return policy


def _roles(value: Any) -> dict[str, Role]:
    parse = one_of(*Role)
    if not isinstance(value, Mapping):
        raise ValueError("write a mapping of columns to roles")  # noqa: TRY004
    return {str(name): Role(parse(role)) for name, role in value.items()}


def _adopt(document: Document, problems: Collection[Problem], prefix: str) -> None:
    """Take over problems that another room found, with their place in this file."""
    for problem in problems:
        path = problem.path if problem.path.startswith(prefix) else f"{prefix}.{problem.path}"
        document.problem(path, problem.found, problem.remedy)


def _truth(section: Section) -> TruthPolicy:
    default = TruthPolicy()
    policy = TruthPolicy(
        arrives=section.take("arrives", units.duration, default.arrives),
        key=section.take("key", text, None),
    )
    section.close()
    return policy


def _train(section: Section, task: Task, functions: Collection[str]) -> TrainPolicy:
    candidates = section.take("candidates", _candidates, default_candidates(task))
    _adopt(
        section.document,
        check_candidates(candidates, task=task, functions=functions),
        section.below("candidates"),
    )
    policy = TrainPolicy(
        candidates=candidates,
        metric=section.take("metric", one_of(*METRICS[task]), METRICS[task][0]),
        trials=section.take("trials", units.count, 1),
        seed=section.take("seed", _whole, 0),
        split=_split(section.section("split")),
        params=section.take("params", dict, {}),
    )
    section.close()
    return policy


def default_candidates(task: Task) -> tuple[CandidateSpec, ...]:
    """Return the candidates that compete where the policy names none."""
    names = ("kmeans",) if task is Task.CLUSTERING else ("linear", "forest", "boosting")
    return tuple(CandidateSpec(name=name, params={}, search={}) for name in names)


def _candidates(value: Any) -> tuple[CandidateSpec, ...]:
    if isinstance(value, list):
        value = dict.fromkeys(value)
    if not isinstance(value, Mapping) or not value:
        raise ValueError("write candidates such as {linear: {}, forest: {depth: 8}}")
    specs = []
    for name, body in value.items():
        if body is not None and not isinstance(body, Mapping):
            raise ValueError(f"write the parameters of {name} as a mapping, or {{}}")
        params = dict(body or {})
        search = params.pop("search", None) or {}
        specs.append(CandidateSpec(name=str(name), params=params, search=search))
    return tuple(specs)


def _whole(value: Any) -> int:
    found = number(value)
    if found != int(found) or found < 0:
        raise ValueError("write a whole number, 0 or above")
    return int(found)


def _split(section: Section) -> Segregation:
    default = Segregation()
    key = section.take("key", texts, default.key)
    policy = dataclasses.replace(
        default,
        how=section.take("how", _how, default.how),
        validation=section.take("validation", units.part, default.validation),
        test=section.take("test", units.part, default.test),
        key=key,
        seed=section.take("seed", _whole, default.seed),
        embargo=section.take("embargo", units.duration, default.embargo),
        allow=section.take("allow", texts, default.allow),
    )
    if not policy.validation + policy.test < 1:
        section.document.problem(
            section.path, policy.validation + policy.test, "leave a share for training"
        )
    section.close()
    return policy


def _how(value: Any) -> How:
    known: tuple[How, ...] = get_args(How)
    one_of(*known)(value)
    return known[known.index(value)]


def _rollout(value: Any) -> Any:
    return parse_rollout(text(value))


def _rollback(document: Document, value: Any, task: Task) -> RollbackRules:
    labels = task is not Task.CLUSTERING
    if value is None:
        later = f"{METRICS[task][0]} worse than champion, confidence 95%"
        value = {"now": ["errors > 1%"], "later": [later] if labels else []}
    if not isinstance(value, Mapping):
        document.problem("rollback", value, "write {now: [errors > 1%], later: [...]}")
        value = {}
    later = value.get("later")
    if later and not labels:
        document.problem("rollback.later", later, "leave it out: no label tells a cluster wrong")
    if isinstance(later, list):
        # `[mae worse than champion, confidence 95%]` is one rule: YAML splits it at the comma.
        value = {**value, "later": ", ".join(map(str, later))}
    rules, problems = parse_rollback(value)
    _adopt(document, problems, "rollback")
    named = rules.later.metric if rules.later else "loss"
    if named not in (*METRICS[task], "loss"):
        fitting = f"use {METRICS[task][0]} or loss for {task}"
        document.problem("rollback.later", f"the metric {named!r}", fitting)
    return rules


def _monitor(section: Section) -> MonitorPolicy:
    default = MonitorPolicy()
    policy = MonitorPolicy(
        window=section.take("window", units.duration, default.window),
        false_alarms=section.take("false_alarms", units.share, default.false_alarms),
        tolerance=section.take("tolerance", units.share, default.tolerance),
    )
    section.close()
    return policy


def _retrain(section: Section) -> RetrainPolicy:
    policy = RetrainPolicy(
        when=section.take("when", _triggers, _triggers(list(WHEN))),
        at_most=_budget(section.section("at_most")),
    )
    section.close()
    return policy


def _triggers(value: Any) -> tuple[Trigger, ...]:
    return tuple(_trigger(words) for words in texts(value))


def _trigger(words: str) -> Trigger:
    if words in CALENDAR:
        return Trigger(words=words, kind=TriggerKind.SCHEDULE, every=words)
    if match := re.fullmatch(r"every (\S+)", words):
        parse_every(match[1])
        return Trigger(words=words, kind=TriggerKind.SCHEDULE, every=match[1])
    if match := re.fullmatch(r"new_rows\s*>=\s*(\S+)", words):
        return Trigger(words=words, kind=TriggerKind.NEW_ROWS, rows=units.count(match[1]))
    known = {
        "quality worse": TriggerKind.QUALITY,
        "drift that matters": TriggerKind.DRIFT,
        "manual": TriggerKind.MANUAL,
    }
    if words in known:
        return Trigger(words=words, kind=known[words])
    every = (*CALENDAR, "every 10d", "new_rows >= 20k", *known)
    raise ValueError(f"{words!r}: {choices(words, every)}")


def _budget(section: Section) -> Budget:
    default = Budget()
    cost: tuple[float | None, str] = section.take(
        "cost_per_week", _cost, (default.cost_per_week, default.currency)
    )
    budget = Budget(
        per_day=section.take("per_day", units.count, default.per_day),
        cost_per_week=cost[0],
        currency=cost[1],
        cooldown=section.take("cooldown", _rest, default.cooldown),
    )
    section.close()
    return budget


def _cost(value: Any) -> tuple[float | None, str]:
    return units.money(value)


def _rest(value: Any) -> timedelta:
    return timedelta(0) if value in (0, "none") else units.duration(value)
