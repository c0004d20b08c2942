"""Expressions of Python code, understood without running it: constants, lists, ranges and calls."""

import ast
from collections.abc import Mapping

# Of a list, and of the numbers in it: a list that many modalities share is held for each.
MAX_STEPS = 4096

Constants = Mapping[str, ast.expr]


class Dynamic(Exception):
    """An expression that only running it could tell."""

    def __init__(self, node: ast.AST) -> None:
        super().__init__(f"see line {getattr(node, 'lineno', 1)}")


def call_of(node: ast.expr, function: str, constants: Constants) -> ast.Call:
    """A call of that function. Like all that follow, it raises Dynamic for anything else."""
    node = resolve(node, constants)
    if isinstance(node, ast.Call) and _name(node.func) == function:
        return node
    raise Dynamic(node)


def arguments(call: ast.Call, positions: tuple[str, ...]) -> dict[str, ast.expr]:
    """A call's arguments by name."""
    if len(call.args) > len(positions) or any(keyword.arg is None for keyword in call.keywords):
        raise Dynamic(call)
    given = dict(zip(positions, call.args, strict=False))
    return given | {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}


def items_or_none(node: ast.expr | None, constants: Constants) -> list[ast.expr] | None:
    """The items of a list or tuple; None for None, and where there is nothing."""
    return None if node is None or is_none(node) else _items(node, constants)


def _items(node: ast.expr, constants: Constants) -> list[ast.expr]:
    node = resolve(node, constants)
    if isinstance(node, ast.List | ast.Tuple) and len(node.elts) <= MAX_STEPS:
        return node.elts
    raise Dynamic(node)


def texts(node: ast.expr, constants: Constants) -> tuple[str, ...]:
    """A list of constant texts; none for None."""
    items = items_or_none(node, constants)
    return tuple(text(item, constants) for item in items or ())


def text(node: ast.expr | None, constants: Constants) -> str:
    """A constant text."""
    node = resolve(node, constants)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise Dynamic(node)


def integer_list(node: ast.expr, constants: Constants) -> tuple[int, ...]:
    """[0, 1, 2] or list(range(...))."""
    node = resolve(node, constants)
    if isinstance(node, ast.Call) and _name(node.func) == "list" and len(node.args) == 1:
        return _range(call_of(node.args[0], "range", constants), constants)
    return tuple(_integer(item, constants) for item in _items(node, constants))


def _range(call: ast.Call, constants: Constants) -> tuple[int, ...]:
    bounds = [_integer(bound, constants) for bound in call.args]
    if not 1 <= len(bounds) <= 3 or (len(bounds) == 3 and bounds[2] == 0):
        raise Dynamic(call)
    steps = range(*bounds)
    if not steps or abs(steps[-1] - steps[0]) > MAX_STEPS:
        raise Dynamic(call)
    return tuple(steps)


def _integer(node: ast.expr, constants: Constants) -> int:
    node = resolve(node, constants)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_integer(node.operand, constants)
    if isinstance(node, ast.Constant) and type(node.value) is int and node.value <= MAX_STEPS:
        return node.value
    raise Dynamic(node)


def member(node: ast.expr, constants: Constants) -> str:
    """The last part of ActionRepresentation.RELATIVE."""
    node = resolve(node, constants)
    if isinstance(node, ast.Attribute):
        return node.attr
    raise Dynamic(node)


def resolve(node: ast.expr | None, constants: Constants) -> ast.expr:
    """A name's constant, followed as long as it is a name."""
    seen: set[str] = set()
    while isinstance(node, ast.Name) and node.id in constants and node.id not in seen:
        seen.add(node.id)
        node = constants[node.id]
    if node is None or isinstance(node, ast.Name):
        raise Dynamic(node or ast.Constant(None))
    return node


def is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _name(function: ast.expr) -> str | None:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else None
