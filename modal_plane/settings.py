"""What a test may turn on a plane while it runs: how it queues, fails, counts and bills."""

from dataclasses import dataclass, field

# Modal's list prices of 2026-11 in USD per hour; the keys are those which `billing.rates()` gives.
RATES = {
    "cpu_hour_cost": "0.0472", "mem_gib_hour_cost": "0.0080", "gpu_hour_cost_t4": "0.59", "gpu_hour_cost_l4": "0.80",
    "gpu_hour_cost_a10g": "1.10", "gpu_hour_cost_l40s": "1.95", "gpu_hour_cost_a100_40gb": "2.10",
    "gpu_hour_cost_a100_80gb": "2.50", "gpu_hour_cost_rtx6000": "3.03", "gpu_hour_cost_h100": "3.95",
    "gpu_hour_cost_h200": "4.54", "gpu_hour_cost_b200": "6.25",
}  # fmt: skip


@dataclass
class Settings:
    """Each may be changed at any moment from any thread."""

    environment: str = "main"
    workspace: str = "laptop"
    image_builder_version: str = "2025.06"

    crash_limit: int = 3
    """Containers that may die under one input before the error reaches the caller (deployed Apps: never does)."""
    preemption_grace_seconds: float = 30.0
    heartbeat_timeout_seconds: float = 60.0
    heartbeat_interval_seconds: float = 15.0
    idle_seconds: float = 2.0
    start_seconds: float = 0.0
    """From the decision to start a container to its process: fetching the image."""
    commit_delay_seconds: float = 0.0

    gpu_delay_seconds: dict[str, float] = field(default_factory=dict)
    """GPU type -> how long after it was asked for it comes; `math.inf` never."""
    gpu_served: dict[str, str] = field(default_factory=dict)
    """GPU type asked for -> type that is given, as Modal gives an H200 for an H100 (not for `H100!`)."""
    gpu_quota: int | None = None
    """GPUs in use at once; what is above it queues."""

    build_log: list[str] = field(default_factory=list)
    build_seconds: float = 0.0
    build_failures: dict[str, str] = field(default_factory=dict)
    """Part of a build command -> last line of the log of the build that it breaks."""

    replays_logs: bool = True
    """Whether `logs.stream()` starts with what was logged before; which of the two the service does is not known."""
    keeps_only_last_call: bool = True
    """A detached App that its client left keeps its last spawned call alone, as Modal's command line warns."""

    container_env: dict[str, str] = field(default_factory=dict)
    rates: dict[str, str] = field(default_factory=lambda: dict(RATES))
