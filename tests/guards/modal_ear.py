"""A client of Modal that asks nobody and keeps what it was told: the order of a run as values."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from sftrun.run.modal import call, image, ready, start

TEXTS = ("files", "remote")  # kept beside the record: they order nothing


class Image:
    """The steps of an image."""

    def __init__(self, *steps: Any) -> None:
        self.steps = steps

    def __getattr__(self, step: str) -> Callable[..., "Image"]:
        return lambda *args, **options: Image(*self.steps, (step, args, options))

    def __repr__(self) -> str:
        return repr(
            [(step, args, {k: v for k, v in options.items() if k != "ignore"}) for step, args, options in self.steps]
        )


class App:
    """An App, its functions and its calls."""

    app_id = "ap-1"

    def __init__(self, told: list[Any], name: str, **options: Any) -> None:
        self.told = told
        told.append(("App", name, options))

    def function(self, **options: Any) -> Callable[[Any], Any]:
        def made(body: Any) -> Any:
            self.told.append(("function", repr(options), getattr(body, "cluster", None)))
            return SimpleNamespace(object_id=f"fu-{options['name']}", spawn=self._spawn)

        return made

    def _spawn(self, order: str, *more: str) -> Any:
        self.told.append(("spawn", {name: part for name, part in json.loads(order).items() if name not in TEXTS}, more))
        return SimpleNamespace(object_id="fc-1")

    @contextmanager
    def run(self, **options: Any) -> Iterator[None]:
        yield

    def get_dashboard_url(self) -> str:
        return "https://modal.example"


def module(told: list[Any]) -> Any:
    """What stands for `modal` where a run is started."""

    def named(kind: str) -> Any:
        return SimpleNamespace(from_name=lambda name, **options: f"{kind} {name} {options}")

    def clustered(**options: Any) -> Callable[[Any], Any]:
        return lambda body: SimpleNamespace(cluster=options)

    return SimpleNamespace(
        App=lambda name, **options: App(told, name, **options),
        Image=Image(),
        Secret=named("secret"),
        Retries=lambda **options: options,
        clustered=clustered,
    )


@contextmanager
def instead(told: list[Any]) -> Iterator[None]:
    """Start runs with this client; nothing that is wanted on the cache Volume stands there yet."""
    with ExitStack() as patched:
        for used in (start, image, call):
            patched.enter_context(patch.object(used, "modal", module(told)))
        patched.enter_context(patch.object(ready.volume_files, "size_of", lambda *_: None))
        patched.enter_context(patch.object(call, "volume", lambda name: f"volume {name}"))
        patched.enter_context(patch.object(image, "heard", _unheard))
        yield


@contextmanager
def _unheard(*_: Any) -> Iterator[Any]:
    yield SimpleNamespace(seconds=0.0)
