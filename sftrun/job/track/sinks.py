"""The trackers, each by its own client: begin or go on with the run, take a point, end.

The tracker's run is the run: it has its name and its id.  A client that can say what it has is asked (`Sink.done`), so
that nothing is told twice.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol

from sftrun.contract.jobspec import JobSpec
from sftrun.job.track.points import Point, settings

Status = str  # finished, stopped or failed, as the record ends


class Sink(Protocol):
    """One tracker.  `done`: the last step that it has of steps and of evaluations, where it can tell.

    `begins_anew`: what it had is gone, and all of the record is told again.
    """

    begins_anew: ClassVar[bool] = False

    def done(self) -> dict[str, int]: ...

    def put(self, point: Point) -> None: ...

    def end(self, status: Status) -> None: ...


class Tensorboard(Sink):
    """Event files below the run's folder, written anew from the record by each attempt."""

    begins_anew: ClassVar[bool] = True

    def __init__(self, spec: JobSpec) -> None:
        from tensorboard.summary import Writer

        folder = Path(os.environ.get("TENSORBOARD_LOGGING_DIR") or Path(spec.record_dir, "tensorboard")) / spec.run_id
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = Writer(str(folder))

    def done(self) -> dict[str, int]:
        return {"step": -1, "eval": -1}

    def put(self, point: Point) -> None:
        for name, value in point.values.items():
            self._writer.add_scalar(name, value, step=point.step, wall_time=point.at)
        self._writer.flush()

    def end(self, status: Status) -> None:
        self._writer.close()


class Mlflow(Sink):
    """The server that MLFLOW_TRACKING_URI names, else files below the run's folder."""

    def __init__(self, spec: JobSpec) -> None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI") or Path(spec.record_dir, "mlflow").absolute().as_uri()
        self._client = MlflowClient(tracking_uri=uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or spec.name
        found = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if found is None else found.experiment_id
        runs = self._client.search_runs([experiment], f"tags.`sftrun.run` = '{spec.run_id}'")
        self._run = runs[0].info.run_id if runs else self._new(experiment, spec)
        self._client.update_run(self._run, status="RUNNING")

    def _new(self, experiment: str, spec: JobSpec) -> str:
        from mlflow.entities import Param

        run = self._client.create_run(
            experiment, run_name=f"{spec.name} {spec.run_id}", tags={"sftrun.run": spec.run_id}
        )
        params = [Param(name, str(value)[:500]) for name, value in settings(spec).items()]
        for begin in range(0, len(params), 100):
            self._client.log_batch(run.info.run_id, params=params[begin : begin + 100])
        return str(run.info.run_id)

    def done(self) -> dict[str, int]:
        def last(name: str) -> int:
            return max((metric.step for metric in self._client.get_metric_history(self._run, name)), default=-1)

        return {"step": last("train/loss"), "eval": last("eval/loss")}

    def put(self, point: Point) -> None:
        from mlflow.entities import Metric

        at = int(point.at * 1000)
        # the loss last: a point that broke off before it is told again
        order = sorted(point.values, key=lambda name: name.endswith("/loss"))
        self._client.log_batch(self._run, [Metric(name, point.values[name], at, point.step) for name in order])

    def end(self, status: Status) -> None:
        told = {"finished": "FINISHED", "failed": "FAILED"}.get(status, "KILLED")
        self._client.set_terminated(self._run, told)


class Wandb(Sink):
    """By its own settings (WANDB_API_KEY, WANDB_PROJECT, WANDB_MODE …); without a key files for `wandb sync`."""

    def __init__(self, spec: JobSpec) -> None:
        import wandb

        is_told = "WANDB_MODE" in os.environ or wandb.login(prompt=False)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or spec.name,
            id=spec.run_id,
            name=f"{spec.name} {spec.run_id}",
            resume="allow",
            dir=spec.record_dir,
            config=settings(spec),
            mode=None if is_told else "offline",
            settings=wandb.Settings(
                console="off", silent=True, x_disable_stats=True, disable_git=True, save_code=False
            ),
        )

    def done(self) -> dict[str, int]:
        return {"step": -1, "eval": -1}

    def put(self, point: Point) -> None:
        self._run.log(point.values, step=point.step)

    def end(self, status: Status) -> None:
        self._run.finish(exit_code=int(status == "failed"))


class Trackio(Sink):
    """By its own settings (TRACKIO_DIR, TRACKIO_SPACE_ID …): files below the run's folder, or a Space."""

    def __init__(self, spec: JobSpec) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(Path(spec.record_dir, "trackio")))  # it is read by the import
        import trackio

        self._trackio = trackio
        self._run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT") or spec.name,
            name=f"{spec.name}-{spec.run_id}",
            space_id=os.environ.get("TRACKIO_SPACE_ID"),
            config=settings(spec),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def done(self) -> dict[str, int]:
        return {"step": -1, "eval": -1}

    def put(self, point: Point) -> None:
        self._trackio.log(point.values, step=point.step)

    def end(self, status: Status) -> None:
        self._trackio.finish()


SINKS: dict[str, Callable[[JobSpec], Sink]] = {
    "tensorboard": Tensorboard,
    "mlflow": Mlflow,
    "wandb": Wandb,
    "trackio": Trackio,
}
