"""The words that recipe, plan and job choose from.  Apart from `jobspec`, so that a check need not load its models."""

from typing import Literal

DataFormat = Literal["messages", "prompt_completion", "instruction", "text"]
Role = Literal["system", "developer", "user", "assistant", "tool"]
Dtype = Literal["bfloat16", "float16", "float32"]
Attention = Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3", "varlen"]
EngineName = Literal["trl", "unsloth"]
# what evaluations tell, and whether more of it is better; of a named set `eval_NAME_loss`, less of which is
METRICS: dict[str, bool] = {"eval_loss": False, "eval_mean_token_accuracy": True}
# experiment trackers, by the package that was tested; a job on this machine takes what is installed
TRACKERS: dict[str, str] = {
    "trackio": "trackio==0.43.0",
    "wandb": "wandb==0.31.0",
    "mlflow": "mlflow-skinny==3.17.2",
    "tensorboard": "tensorboard==2.21.0",
}
ExecutorName = Literal["modal", "local"]
MetricName = Literal[
    "exact_match",
    "number",
    "contains",
    "regex",
    "f1",
    "json",
    "yaml",
    "toml",
    "hcl",
    "dockerfile",
    "rouge",
    "chrf",
    "bleu",
    "stops",
    "loss",
    "token_accuracy",
]
