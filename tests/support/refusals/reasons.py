"""Every reason that the server's source gives to an error of gemwire.v1, found in its syntax trees."""

import ast
from collections.abc import Iterator, Sequence

from uninstalled import ROOT

SERVER = ROOT / "server" / "gemwire_server"
FRONTS = SERVER / "fronts"
OTHER_APIS = (
    SERVER / "dialects",
    FRONTS / "http",
    *(
        folder
        for folder in (FRONTS / "grpc").iterdir()
        if folder.name != "gemwire_v1" and folder.is_dir()
    ),
)
"""What gemwire.v1 does not pass through: reasons there need not be values of its ErrorReason."""
ERROR_BASE = "GemwireError"
HANDED_ON = ""
"""Pattern of a call that hands on a reason, which another call names."""
UNREACHABLE = {"INVALID_TEXT"}
"""Reasons that never go over gRPC: no message brings a text that is refused so."""


def reasons_in_source() -> set[str]:
    """Patterns of reasons: a literal is its own pattern, and a part that is computed is `.+`."""
    paths = [
        path for path in sorted(SERVER.rglob("*.py")) if not set(OTHER_APIS) & set(path.parents)
    ]
    trees = {path: ast.parse(path.read_text()) for path in paths}
    nodes = [(path, node) for path, tree in trees.items() for node in ast.walk(tree)]
    constants = dict(item for tree in trees.values() for item in _constants(tree))
    errors = _error_types([node for _, node in nodes])
    takers = errors | _functions_of_a_reason([node for _, node in nodes], errors)
    found = set()
    for path, node in nodes:
        if isinstance(node, ast.Call) and _name(node.func) in takers:
            pattern = _pattern(_reason_argument(node), constants)
            assert pattern is not None, f"{path}, line {node.lineno}: which reason is that?"
            found.add(pattern)
    return found - {HANDED_ON}


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                if isinstance(target, ast.Name) and isinstance(node.value.value, str):
                    yield target.id, node.value.value


def _error_types(nodes: Sequence[ast.AST]) -> set[str]:
    """Names of GemwireError and of the classes that derive from it."""
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    found = {ERROR_BASE}
    while more := {
        node.name
        for node in classes
        if node.name not in found and found & {_name(base) for base in node.bases}
    }:
        found |= more
    return found


def _functions_of_a_reason(nodes: Sequence[ast.AST], errors: set[str]) -> set[str]:
    """Names of functions that make an error of the reason that is their first argument."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.FunctionDef) and node.returns is not None:
            names = [arg.arg for arg in node.args.args if arg.arg != "self"]
            if names[:1] == ["reason"] and _name(node.returns) in errors:
                found.add(node.name)
    return found


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _reason_argument(call: ast.Call) -> ast.expr | None:
    if call.args:
        return call.args[0]
    return next((keyword.value for keyword in call.keywords if keyword.arg == "reason"), None)


def _pattern(given: ast.expr | None, constants: dict[str, str]) -> str | None:
    """None where the syntax tree does not say what the reason is."""
    match given:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(
                part.value if isinstance(part, ast.Constant) else ".+"  # type: ignore[misc]
                for part in parts
            )
        case ast.Name(id=name) if name in constants:
            return constants[name]
        case ast.Name(id="reason") | ast.Attribute(attr="reason") | ast.Subscript() | None:
            return HANDED_ON
    return None
