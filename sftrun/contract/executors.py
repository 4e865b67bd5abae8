"""The executors: where a job can run, as values that answer what one must know of them.

A new one has its name in `choices.ExecutorName`, an entry here, and a module with its backend (`sftrun.run.backend`):
see docs/extending.md.
"""

from typing import Final, NamedTuple


class Executor(NamedTuple):
    """One executor.

    `backend`: module and class, imported only where a run is started or looked at.  `is_here`: the job is a process of
    this machine, with its GPUs, its packages and its files.  `rents`: a second costs what the price list says, and a
    budget is judged.  `can_cluster`: one job may have several machines.
    """

    name: str
    title: str
    about: str
    backend: str
    is_here: bool = False
    rents: bool = False
    can_cluster: bool = False

    @property
    def is_elsewhere(self) -> bool:
        """Whether only its backend can say how a run stands."""
        return bool(self.backend) and not self.is_here


MODAL: Final = Executor(
    name="modal",
    title="Modal",
    about="a container on Modal",
    backend="sftrun.run.modal.executor:Modal",
    rents=True,
    can_cluster=True,
)
LOCAL: Final = Executor(
    name="local", title="this machine", about="this machine", backend="sftrun.run.local:Local", is_here=True
)
EXECUTORS: Final = {executor.name: executor for executor in (MODAL, LOCAL)}


def executor(name: str) -> Executor:
    """The executor of that name; one of a later release's ledger is known by its name alone."""
    return EXECUTORS.get(name) or Executor(name=name, title=name, about=name, backend="")
