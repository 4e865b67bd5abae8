"""The names, numbers and places that tasks are filled with.

Pre-training and quickstart draw from the same lists: the quickstart teaches new forms, not new words."""

from __future__ import annotations

from random import Random


def listed(words: str) -> tuple[str, ...]:
    """The words of a text: a long list that stays readable."""
    return tuple(words.split())


SUBJECTS = listed(
    "payments orders billing catalog search login mail reports metrics ledger cart invoices media profile wallet "
    "gateway scheduler audit feeds chat quotes rates stock pricing reviews shipping tickets travel maps events "
    "alerts tokens images video backups exports imports sessions webhooks notifier inbox docs blog shop forum "
    "survey loyalty fraud tax payroll stream crawler ranking labels uploads archive status console portal "
    "checkout coupons refunds devices sensors fleet"
)
ROLES = ("api", "worker", "web", "cron", "proxy", "cache")
TEAMS = ("core", "growth", "data", "platform", "mobile", "finance", "security", "support", "research", "partners")
ENVIRONMENTS = ("development", "staging", "production")
REGIONS = ("eu-west-1", "eu-central-1", "us-east-1", "us-west-2", "ap-northeast-1", "ap-south-1", "sa-east-1")
PORTS = (80, 443, 3000, 3306, 4000, 5000, 5432, 6379, 8000, 8080, 8081, 8443, 9000, 9090, 9100)
INSTANCE_TYPES = ("t3.micro", "t3.small", "t3.medium", "m5.large", "m5.xlarge", "c5.large", "c5.xlarge", "r5.large")
PACKAGES = (
    "nginx",
    "redis",
    "postgresql",
    "git",
    "curl",
    "vim",
    "htop",
    "haproxy",
    "docker",
    "rsync",
    "chrony",
    "fail2ban",
)
BRANCHES = ("main", "master", "develop", "release", "staging")
CHARTS = ("nginx", "redis", "postgresql", "grafana", "prometheus", "vault", "loki", "traefik", "rabbitmq", "mongodb")
REPOSITORIES = ("bitnami", "stable", "internal", "grafana", "hashicorp")
GLOSSARY = listed(
    "interval timeout retries group cancel progress concurrency moved from to import removed tags app team env "
    "owner handlers listen notify releases chart version values policy PodDisruptionBudget minAvailable "
    "maxUnavailable restarted reloaded stopped started HEALTHCHECK CMD LABEL USER VOLUME SHELL STOPSIGNAL acme "
    "dev stg prd s3 true false default name service state NetworkPolicy HorizontalPodAutoscaler StatefulSet "
    "DaemonSet PersistentVolumeClaim ServiceAccount RoleBinding Secret minReplicas maxReplicas storage schedule "
    "strategy matrix permissions timeout-minutes cancel-in-progress kind spec lifecycle prevent_destroy "
    "depends_on for_each locals data provisioner become when loop register tags repository lock"
)
PATHS = ("/health", "/healthz", "/ready", "/live", "/ping", "/status")


def service(rng: Random) -> str:
    """A name such as `payments` or `payments-api`."""
    subject = rng.choice(SUBJECTS)
    return subject if rng.random() < 0.4 else f"{subject}-{rng.choice(ROLES)}"


def version(rng: Random) -> str:
    """A release such as 2.11.4."""
    return f"{rng.randint(0, 9)}.{rng.randint(0, 20)}.{rng.randint(0, 9)}"


def port(rng: Random) -> int:
    return rng.choice(PORTS)


def identifier(name: str) -> str:
    """`payments-api` as Terraform and Python want it: `payments_api`."""
    return name.replace("-", "_")
