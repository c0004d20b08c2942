"""Data in Python code, read without running it: texts, numbers, lists, dicts, ranges, and calls as dicts."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Items of a list, and the numbers in it.
MAX_STEPS = 4096
# In all: a list that many modalities share is held for each.
MAX_VALUES = 1 << 17


class Dynamic(Exception):
    """An expression whose value only execution could tell."""

    def __init__(self, node: ast.AST) -> None:
        super().__init__(f"see line {getattr(node, 'lineno', 1)}")


@dataclass(frozen=True)
class Call:
    """A function whose calls are read: those of its arguments that count, the first few also without a keyword.

    members: those that are members of an enum, of which the last name counts: ActionRepresentation.RELATIVE.
    """

    arguments: tuple[str, ...]
    num_positional: int
    members: tuple[str, ...] = ()


@dataclass
class LiteralReader:
    """Reads expressions; constants: values of a module's names, calls: by name of the function."""

    constants: Mapping[str, ast.expr]
    calls: Mapping[str, Call]
    _num_left: int = field(default=MAX_VALUES, init=False)

    def read(self, node: ast.expr | None) -> Any:
        """The value of an expression; arguments that are None are missing from a call's dict.

        Raises:
            Dynamic: only running it could tell, or it is too large.
            RecursionError: it is nested too deeply, or within itself.
        """
        node = self._follow(node)
        self._spend(1, node)
        match node:
            case ast.Constant(value=str() | None as value):
                return value
            case ast.Constant(value=value) if type(value) is int and value <= MAX_STEPS:
                return value
            case ast.UnaryOp(op=ast.USub(), operand=operand) if type(number := self.read(operand)) is int:
                return -number
            case ast.List(elts=items) | ast.Tuple(elts=items) if len(items) <= MAX_STEPS:
                return [self.read(item) for item in items]
            case ast.Dict(keys=keys, values=values):
                return {self._key(key): self.read(value) for key, value in zip(keys, values, strict=True)}
            case ast.Call(func=ast.Name(id="list"), args=[steps]):
                return self._range(self._follow(steps))
            case ast.Call() if (call := self.calls.get(_name(node.func))) is not None:
                return self._arguments(node, call)
        raise Dynamic(node)

    def _follow(self, node: ast.expr | None) -> ast.expr:
        if isinstance(node, ast.Name) and node.id in self.constants:
            return self._follow(self.constants[node.id])
        return ast.Constant(...) if node is None else node

    def _spend(self, num_values: int, node: ast.expr) -> None:
        self._num_left -= num_values
        if self._num_left < 0:
            raise Dynamic(node)

    def _key(self, node: ast.expr | None) -> str:
        if isinstance(key := self.read(node), str):
            return key
        raise Dynamic(node or ast.Constant(...))

    def _range(self, node: ast.expr) -> list[int]:
        if not isinstance(node, ast.Call) or _name(node.func) != "range":
            raise Dynamic(node)
        try:
            steps = range(*map(self.read, node.args))
        except (TypeError, ValueError) as error:  # bounds that are no integers, or a step of 0
            raise Dynamic(node) from error
        if not steps or abs(steps[-1] - steps[0]) > MAX_STEPS:
            raise Dynamic(node)
        self._spend(len(steps), node)
        return list(steps)

    def _arguments(self, node: ast.Call, call: Call) -> dict[str, Any]:
        given = dict(zip(call.arguments[: call.num_positional], node.args, strict=False))
        given |= {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg is not None}
        if len(given) < len(node.args) + len(node.keywords):
            raise Dynamic(node)
        read = {
            name: self._member(value) if name in call.members else self.read(value)
            for name, value in given.items()
            if name in call.arguments
        }
        return {name: value for name, value in read.items() if value is not None}

    def _member(self, node: ast.expr) -> str:
        if isinstance(node := self._follow(node), ast.Attribute):
            return node.attr
        raise Dynamic(node)


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
