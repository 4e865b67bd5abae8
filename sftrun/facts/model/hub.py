"""The Hub, through its own library: headers instead of weights, and every failure a `Problem` in our words.

`huggingface_hub` takes 0.35 s to import (`validate` as a whole 0.3 s), so this page is imported only when the Hub is
asked.  Nothing is written to its cache: a snapshot with a config and no weights would help nobody.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
from huggingface_hub import HfApi, ModelInfo, get_session, get_token, hf_hub_url, hf_raise_for_status
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    SafetensorsParsingError,
)

from sftrun.errors import Problem
from sftrun.facts.model.headers import INDEX, SINGLE, Malformed, parse_object, shard_names, tensor
from sftrun.facts.model.tensor_names import Tensor

_CONNECTIONS = 8
_SET_TOKEN = "accept its terms on the Hub, then set `HF_TOKEN`"


class Hub:
    """A repository of the Hub at a revision; `timeout` in seconds, of each request.  Every failure is a `Malformed`."""

    def __init__(self, name: str, revision: str | None, timeout: float) -> None:
        self.name, self.revision = name, revision or "main"
        self._timeout = timeout
        self._api = HfApi(os.environ.get("HF_ENDPOINT"), library_name="sftrun")

    def info(self) -> ModelInfo:
        """What the Hub says of the repository."""
        with self._translated():
            return self._api.model_info(self.name, revision=self.revision, timeout=self._timeout)

    def config(self) -> dict[str, object]:
        with self._translated():
            return self._object("config.json")

    def tensors(self, files: frozenset[str]) -> dict[str, Tensor]:
        """All tensors of the checkpoint, by range requests, a few at a time."""
        with self._translated():
            names = self._weight_files(files)
            with ThreadPoolExecutor(_CONNECTIONS) as pool:
                parts = list(pool.map(self._header, names))
        found = {name: told for part in parts for name, told in part.items()}
        if not found:
            raise Malformed(Problem("malformed", f"the weights of {self.name} name no tensor", "choose another model"))
        return found

    def _weight_files(self, files: frozenset[str]) -> tuple[str, ...]:
        if INDEX in files:
            return shard_names(self._object(INDEX), f"{self.name}: {INDEX}")
        if SINGLE in files:
            return (SINGLE,)
        raise Malformed(
            Problem("unsafe", f"{self.name} has no safetensors weights on the Hub", "choose a model that has them")
        )

    def _header(self, file: str) -> dict[str, Tensor]:
        where = f"{self.name}: {file}"
        found = self._api.parse_safetensors_file_metadata(
            self.name, file, revision=self.revision, timeout=self._timeout
        )
        return {name: tensor(vars(told), name, where) for name, told in found.tensors.items()}

    def _object(self, file: str) -> dict[str, object]:
        """A JSON file, in one request."""
        url = hf_hub_url(self.name, file, revision=self.revision, endpoint=self._api.endpoint)
        token = get_token()
        headers = {"authorization": f"Bearer {token}"} if token else {}
        answer = get_session().get(url, headers={"user-agent": "sftrun", **headers}, timeout=self._timeout)
        hf_raise_for_status(answer)
        return parse_object(answer.content, f"{self.name}: {file}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except HFValidationError:
            raise Malformed(self._missing()) from None
        except SafetensorsParsingError:
            problem = Problem("malformed", f"the weights of {self.name} are no safetensors", "choose another model")
            raise Malformed(problem) from None
        except OfflineModeIsEnabled:
            problem = Problem("unreachable", "`HF_HUB_OFFLINE` is set, so the Hub is not asked", "unset it")
            raise Malformed(problem) from None
        except HfHubHTTPError as error:
            raise Malformed(self._refused(error)) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise Malformed(self._unreachable(error)) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            problem = Problem("unreachable", f"{self._host()} answers, but not as the Hub", "check `HF_ENDPOINT`")
            raise Malformed(problem) from None

    def _refused(self, error: HfHubHTTPError) -> Problem:
        status = error.response.status_code
        if isinstance(error, GatedRepoError):
            return Problem("unknown", f"{self.name} is gated: it needs a token that may read it", _SET_TOKEN)
        if isinstance(error, EntryNotFoundError):
            return Problem("missing", f"{self.name} has no config.json on the Hub", "choose a model that has one")
        if status in (401, 403):
            # the Hub does not say which of the two it is
            why = "needs a token that may read it" + (", if it exists" * isinstance(error, RepositoryNotFoundError))
            return Problem("unknown", f"{self.name} {why}", _SET_TOKEN)
        if status == 404:
            return self._missing()
        return Problem("unreachable", f"the Hub answered {status} for {self.name}", "try again, or work `--offline`")

    def _missing(self) -> Problem:
        message = f"the Hub has no model {self.name} at `{self.revision}`"
        return Problem("missing", message, "check `model.name_or_path` and `model.revision`")

    def _unreachable(self, error: Exception) -> Problem:
        said = str(error).lower() or type(error).__name__
        message = f"{self._host()} can't be reached: {said}"
        return Problem("unreachable", message, "check the network, or work `--offline`")

    def _host(self) -> str:
        return self._api.endpoint.partition("//")[2].rpartition("@")[2]


def siblings(info: ModelInfo) -> frozenset[str]:
    """File names of the Hub's answer."""
    return frozenset(file.rfilename for file in info.siblings or ())
