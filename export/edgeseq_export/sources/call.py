"""Somebody's network, called by the names of a signature."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from edgeseq_runtime.signature import BATCH, Axis
from torch import Tensor, nn

from edgeseq_export.sources.spec import Path


@dataclass(frozen=True)
class Parameter:
    """One parameter of a forward. required: without a default. several: it takes all further ones by place (*args)."""

    name: str
    required: bool
    several: bool = False


def parameters_of(module: nn.Module) -> tuple[Parameter, ...]:
    """What a network's forward takes. Scripted ones are asked for their schema."""
    if isinstance(module, torch.jit.ScriptModule):
        arguments: Any = module.forward.schema.arguments[1:]  # type: ignore[attr-defined]  # without self
        return tuple(Parameter(a.name, not a.has_default_value()) for a in arguments)
    found = inspect.signature(module.forward).parameters.values()
    return tuple(
        Parameter(p.name, p.default is p.empty and p.kind is not p.VAR_POSITIONAL, p.kind is p.VAR_POSITIONAL)
        for p in found
        if p.kind is not p.VAR_KEYWORD
    )


@dataclass(frozen=True)
class Lifted:
    """A state that a network keeps to itself: one depth of a recurrent layer of torch, h or c.

    layer: the layer's path in the network. depth: which of the layers above each other. quantity: 0 for h, 1 for c.
    """

    layer: str
    depth: int
    quantity: int


@dataclass(frozen=True)
class Plan:
    """Where each tensor goes and comes from.

    inputs: by name, the path to it in the call. outputs: by name, the path to it in the answer; of states too.
    lifted: by the name of a state input, what it is inside the network. lifted_outputs: likewise of a state output.
    turned: by name, where the batch axis stands for the network, if it is not the first.
    zeros: by name, the axes of a state that the network cannot be called without.
    """

    inputs: Mapping[str, Path]
    outputs: Mapping[str, Path]
    lifted: Mapping[str, Lifted] = field(default_factory=dict)
    lifted_outputs: Mapping[str, Lifted] = field(default_factory=dict)
    turned: Mapping[str, int] = field(default_factory=dict)
    zeros: Mapping[str, tuple[Axis, ...]] = field(default_factory=dict)


class Called(nn.Module):
    """A network that takes tensors by name, and gives tensors by name, batch first."""

    def __init__(self, module: nn.Module, plan: Plan) -> None:
        super().__init__()
        self.module = module
        self.plan = plan
        self._parameters_of = parameters_of(module)

    def forward(self, **tensors: Tensor) -> dict[str, Tensor]:
        """tensors: inputs and states by name; a state that is left out starts as the network has it."""
        plan = self.plan
        first = next(iter(tensors.values()))
        zeros = {
            n: first.new_zeros(_shape(axes, first.shape[0]), dtype=torch.get_default_dtype())
            for n, axes in plan.zeros.items()
            if n not in tensors
        }
        given = {n: t.movedim(0, plan.turned[n]) if n in plan.turned else t for n, t in tensors.items()} | zeros
        finals: dict[str, Any] = {}
        with ExitStack() as hooks:
            for layer in dict.fromkeys(each.layer for each in plan.lifted.values()):
                states = {
                    (p.depth, p.quantity): given[n] for n, p in plan.lifted.items() if p.layer == layer and n in given
                }
                hooks.enter_context(_carried(self.module.get_submodule(layer), states, finals, layer))
            answer = call(
                self.module, self._parameters_of, {plan.inputs[n]: t for n, t in given.items() if n in plan.inputs}
            )
        outputs = {name: leaf(answer, path) for name, path in plan.outputs.items()}
        outputs |= {name: _final(finals[each.layer], each) for name, each in plan.lifted_outputs.items()}
        return {n: t.movedim(plan.turned[n], 0) if n in plan.turned else t for n, t in outputs.items()}


def call(module: nn.Module, parameters: Sequence[Parameter], given: Mapping[Path, Any]) -> Any:
    """Call a network with tensors by their paths: entries of dicts and tuples are put together."""
    arguments: dict[str, Any] = {}
    for path, value in given.items():
        place: Any = arguments
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = value
    built = {name: _built(value) for name, value in arguments.items()}
    several = [p.name for p in parameters if p.several]
    return module(*(built.pop(several[0], ()) if several else ()), **built)


def _shape(axes: Sequence[Axis], batch: int) -> list[int]:
    return [batch if axis == BATCH else int(axis) for axis in axes]


def leaf(answer: Any, path: Path) -> Tensor:
    """The tensor at a path of an answer."""
    for key in path:
        answer = answer[key]
    return answer  # type: ignore[no-any-return]


def leaves(answer: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Every tensor of an answer with its path; what is no tensor is left aside."""
    if isinstance(answer, Tensor):
        yield path, answer
    elif isinstance(answer, Mapping):
        for key, value in answer.items():
            yield from leaves(value, (*path, key))
    elif isinstance(answer, list | tuple):
        for place, value in enumerate(answer):
            yield from leaves(value, (*path, place))


def _built(value: Any) -> Any:
    """Dicts whose keys are places become tuples."""
    if not isinstance(value, dict):
        return value
    built = {key: _built(item) for key, item in value.items()}
    return tuple(built[key] for key in sorted(built)) if all(isinstance(key, int) for key in built) else built


class _carried(ExitStack):  # noqa: N801
    """Inside, a recurrent layer starts from the states given, by depth and quantity, and its last ones are noted."""

    def __init__(self, layer: nn.Module, states: Mapping[tuple[int, int], Tensor], finals: dict[str, Any], name: str):
        super().__init__()
        lstm = isinstance(layer, nn.LSTM)

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
            if not states:
                return None
            depths = range(len(states) // (2 if lstm else 1))
            both = [torch.cat([states[depth, quantity] for depth in depths]) for quantity in range(2 if lstm else 1)]
            hx = tuple(both) if lstm else both[0]
            rows = args[0] if args else kwargs["input"]
            return (rows, hx), {}

        def after(_: nn.Module, __: Any, answer: Any) -> None:
            finals[name] = answer[1] if lstm else (answer[1],)

        self.callback(layer.register_forward_pre_hook(before, with_kwargs=True).remove)
        self.callback(layer.register_forward_hook(after).remove)


def _final(states: tuple[Tensor, ...], lifted: Lifted) -> Tensor:
    return states[lifted.quantity][lifted.depth : lifted.depth + 1]
