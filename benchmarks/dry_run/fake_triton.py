"""Teaches Triton's interpreter bfloat16, chained launches, and the launches of a captured graph."""

from types import SimpleNamespace
from typing import Any

from dry_run.fake_graph import launch


def install(interpreter: Any) -> None:
    from triton_interpreter import teach

    teach()
    run = interpreter.GridExecutor.__call__

    def launched(self: Any, *args: Any, **kwargs: Any) -> None:
        launch(lambda: run(self, *args, **kwargs))

    interpreter.GridExecutor.__call__ = launched
    interpreter._patch_lang = _once(interpreter._patch_lang)


def _once(patch_lang: Any) -> Any:
    """Patches the language once for a kernel and its functions: to patch it anew takes half of the time."""
    inside = SimpleNamespace(restore=_nothing)
    modules: set[str] = set()  # whose language is patched now

    def patch(function: Any) -> Any:
        name = function.__module__
        if name in modules:
            return inside
        scope = patch_lang(function)
        modules.add(name)

        def restore() -> None:
            modules.remove(name)
            scope.restore()

        return SimpleNamespace(restore=restore)

    return patch


def _nothing() -> None:
    pass
