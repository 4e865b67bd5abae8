"""The worker: data -> model -> ask the base -> train -> eval -> ask the tuned one -> save -> evaluate, top to bottom.

    python -m sftrun.job.train.worker JOB.json

Started by the supervisor (`entry`), once for each GPU.  Exit codes are the supervisor's: 0, 3, 4.
"""

import gc

from sftrun.job.supervise.process import guard

if __name__ == "__main__":
    gc.disable()  # the libraries' imports make a million objects and no garbage: a quarter of their time
    guard()  # before the slow imports: an orphan must not outlive its supervisor by seconds

import contextlib
import importlib
import multiprocessing
import os
import socket
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sftrun.contract import events, stopping
from sftrun.contract.answers import ModelName
from sftrun.contract.engines import ENGINES
from sftrun.contract.events import StageName
from sftrun.contract.jobspec import JobSpec
from sftrun.job.channel import Channel
from sftrun.job.failures import JobStopped, translate
from sftrun.job.supervise import checkpoints, record

if TYPE_CHECKING:
    from sftrun.job.prepare.prepared import Marker
    from sftrun.rows.tokenizer import Tokens

VERSIONS = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "datasets", *ENGINES, "liger_kernel")


class Work:
    """One attempt.  `run` reads as the module's first line says."""

    def __init__(self, spec: JobSpec, channel: Channel) -> None:
        self.spec, self.channel = spec, channel
        self.stage: StageName = "start"
        self.step = 0
        self.checkpoint: Path | None = None

    def run(self) -> events.Finished | events.Stopped:
        """To the end, or to the stop that was asked for."""
        self._find_checkpoint()
        self._import_libraries()
        self._start()
        from sftrun.job.obey import devices, orders

        order, here = orders.Orders(self.spec.step, self.channel), devices.here()
        spec = self.spec = self.spec.model_copy(update={"step": order.fit(here)})

        self._enter("data", ", ".join(source.name for source in spec.dataset.train))
        from sftrun.job.prepare import preparing, row_tokenizer
        from sftrun.job.train import loading, saved_tokenizer

        loading.require_optimizer(spec)
        tokens = row_tokenizer.of_job(spec)
        data, weights = preparing.begin(spec, tokens, self._check_stop), None
        if isinstance(data, preparing.Pending):
            from sftrun.job.train import make_trainer

            weights = make_trainer.weights_ahead(spec)
            data = data.wait(self._check_stop)
        if spec.step.preparing == "container" and not data.was_ready:
            order.refuse("preparing", preparing.whereabouts(spec), "the container's rows do not stand there")
        self.channel.say(data.summary())
        if (names := data.names()) is not None:
            self.channel.note(names)
        for remark in data.remarks(spec.trainer.max_length):
            self.channel.note(remark, is_warning=True)

        texts = [saved_tokenizer.Text(*each) for each in data.texts()]
        tokenizer = saved_tokenizer.load(spec.model, tokens, texts)

        self._enter("model", spec.model.name_or_path)
        from sftrun.job.fast import fast_path
        from sftrun.job.obey import seen
        from sftrun.job.train import callbacks, make_trainer

        trainer, watcher = make_trainer.trainer(spec, self.channel, order, tokenizer, data, weights)
        total_steps = make_trainer.total_steps(trainer)
        total, trainable = loading.count_parameters(trainer.model)
        if spec.step.sharding == "fsdp":
            trainer.shard_weights()
        callbacks.forget_peak_memory()
        self.channel.say(
            events.ModelReady(
                parameters=total, trainable_parameters=trainable, total_steps=total_steps, first_step=self.step
            )
        )

        gc.freeze()  # what stands now stays: collecting it again and again would be in vain
        gc.enable()
        self._sample("before", trainer.model, tokenizer, tokens, data.marker)
        self._evaluate("base", trainer.model, tokenizer, tokens, data.marker)

        self._enter("train", "" if self.checkpoint is None else f"from step {self.step}")
        if spec.nodes > 1:
            trainer.require_one_step(self.step)
        fast_path.require_rows_apart(spec, trainer)
        fast = fast_path.prepare(spec, trainer, self.channel, order)
        order.report(seen.step_of(trainer, fast, order.step, here))
        if self.checkpoint is not None and trainer.is_over(str(self.checkpoint), total_steps):
            train_loss = trainer.finish_from(str(self.checkpoint))
        else:
            watcher.resumed_from = None if self.checkpoint is None else str(self.checkpoint)
            train_loss = trainer.train(resume_from_checkpoint=watcher.resumed_from).training_loss
        self.step = step = trainer.state.global_step
        self.checkpoint = checkpoints.find(spec.checkpoints_dir, spec.run_id).newest
        if watcher.stop_reason is not None:
            return events.Stopped(reason=watcher.stop_reason, step=step, checkpoint=_text(self.checkpoint))
        fast_path.undo(fast)

        if data.eval_rows and trainer.best.evaluated_step != step:
            self._enter("eval", f"{data.eval_rows:,} rows")
            trainer.evaluate()

        self._sample("after", trainer.model, tokenizer, tokens, data.marker)

        self._enter("save", spec.output_dir)
        end = events.Finished(
            step=step,
            saved_step=None if trainer.loaded_step == step else trainer.loaded_step,
            train_loss=train_loss,
            output_dir=spec.output_dir,
            memory_gb=callbacks.peak_memory_gb(),
        )
        self._save(trainer, tokenizer, data.marker, end)
        self._evaluate_saved(trainer.model, tokenizer, tokens, data.marker)
        return end

    def _find_checkpoint(self) -> None:
        """The supervisor has dropped what can't be trusted."""
        found = checkpoints.find(self.spec.checkpoints_dir, self.spec.run_id)
        self.step, self.checkpoint = found.step, found.newest

    def _import_libraries(self) -> None:
        first = self.spec.trainer.library.first_import
        if first is not None:
            importlib.import_module(first)  # it patches the others
        import torch

        if self.spec.cpu_threads:
            torch.set_num_threads(self.spec.cpu_threads)

    def _start(self) -> None:
        import torch

        gpus = torch.cuda.is_available()
        self.channel.say(
            events.Started(
                run_id=self.spec.run_id,
                attempt=1,
                host=socket.gethostname(),
                pid=os.getpid(),
                device=torch.cuda.get_device_name() if gpus else "cpu",
                gpu_count=int(os.environ.get("WORLD_SIZE", "1")) if gpus else 0,
                resumed_from=None if self.checkpoint is None else self.step,
                versions=_versions(),
            )
        )

    def _enter(self, stage: StageName, detail: str = "") -> None:
        self._check_stop()
        self.stage = stage
        self.channel.say(events.Stage(name=stage, detail=detail))

    def _check_stop(self) -> None:
        self.channel.beat()
        # Several processes obey together at a step (`callbacks`): one that leaves alone would hang the others
        if "RANK" not in os.environ and stopping.requested(self.spec.record_dir):
            raise JobStopped

    def _sample(
        self, when: Literal["before", "after"], model: Any, tokenizer: Any, tokens: "Tokens", data: "Marker"
    ) -> None:
        wanted, is_sharded = self.spec.samples, self.spec.step.sharding == "fsdp"
        if not wanted.prompts or (self.channel.rank != 0 and not is_sharded):
            return
        if when == "before" and record.has_answered(self.spec.record_dir, wanted.prompts):
            return
        from sftrun.job.train import generation, samples

        self._enter("samples_before" if when == "before" else "samples_after", f"{len(wanted.prompts)} prompts")
        texts = [samples.wrap(prompt, self.spec.rows, data, tokens) for prompt in wanted.prompts]
        answers = samples.generate(
            model,
            tokenizer,
            texts,
            generation.config(model, tokenizer, data.ends).eos_token_id,
            max_new_tokens=wanted.max_new_tokens,
            temperature=wanted.temperature,
            has_special_tokens=data.are_conversations,
            is_sharded=is_sharded,
            between=self._check_stop,
        )
        for index, (prompt, text) in enumerate(zip(wanted.prompts, answers, strict=True)):
            self.channel.say(events.Sample(when=when, index=index, prompt=prompt, text=text))

    def _evaluate(self, name: ModelName, model: Any, tokenizer: Any, tokens: "Tokens", data: "Marker") -> None:
        if self.spec.evaluation is None:
            return
        from sftrun.job.ask import evaluating

        self._enter("evaluate_before" if name == "base" else "evaluate_after", self.spec.evaluation.data.name)
        evaluating.ask(self.spec, name, model, tokenizer, tokens, data, self.channel, self._check_stop)

    def _evaluate_saved(self, model: Any, tokenizer: Any, tokens: "Tokens", data: "Marker") -> None:
        """The run has done its work: whatever stops this stops the evaluation alone."""
        try:
            self._evaluate("tuned", model, tokenizer, tokens, data)
        except JobStopped:
            if stopping.requested(self.spec.record_dir) == "preempted":
                raise  # another machine goes on
            reason = "it was stopped"
        except BrokenPipeError:
            raise
        except Exception as error:
            traceback.print_exc()
            reason = translate(error).message
        else:
            return
        again = f"`sftrun evaluate {self.spec.run_id}` goes on"
        self.channel.note(f"the evaluation is not complete: {reason}; {again}", is_warning=True)

    def _save(self, trainer: Any, tokenizer: Any, data: "Marker", end: events.Finished) -> None:
        from sftrun.job.train import save

        weights = trainer.trained_weights()
        if trainer.is_world_process_zero():
            moved = save.save(self.spec, trainer.model, tokenizer, save.marker(self.spec, data, end), weights)
            if moved is not None:
                self.channel.note(
                    f"no run's files stood in the output folder: they are in {moved} now", is_warning=True
                )
        trainer.accelerator.wait_for_everyone()


def main(job_file: str) -> int:
    """Run, and say how it ended: the last event is always one of finished, stopped and failed."""
    channel = Channel()
    spec = JobSpec.read(Path(job_file).read_bytes())
    work = Work(spec, channel)
    try:
        last: events.Finished | events.Stopped | events.Failed = work.run()
    except JobStopped:
        reason = stopping.requested(spec.record_dir) or "user"
        last = events.Stopped(reason=reason, step=work.step, checkpoint=_text(work.checkpoint))
    except BrokenPipeError:
        return 1  # nobody listens: the supervisor is gone
    except BaseException as error:
        traceback.print_exc()
        failure = translate(error)
        last = events.Failed(failure=failure.kind, stage=work.stage, message=failure.message, help=failure.help)
    channel.say(last)
    if last.kind != "failed" and "RANK" in os.environ:
        _leave_together()
    return {"finished": 0, "stopped": 4}.get(last.kind, 3)


def _leave_together() -> None:
    """A process that hears nothing more from one that has gone may be aborted while it ends itself."""
    from accelerate import PartialState

    with contextlib.suppress(RuntimeError):  # the other is gone already
        PartialState().wait_for_everyone()


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in VERSIONS:
        try:
            found[name] = version(name.replace("_", "-"))
        except PackageNotFoundError:
            continue
    return found


def leave(code: int) -> None:
    """End without the libraries' slow good-byes."""
    sys.stdout.flush()
    sys.stderr.flush()
    for loader in multiprocessing.active_children():  # they would look for their parent every five seconds only
        loader.terminate()
    os._exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1]))
