"""Terraform tasks that the embedded model is pre-trained on."""

from __future__ import annotations

from random import Random

from tools.generators.task import Kind, Task, text
from tools.generators.words import ENVIRONMENTS, INSTANCE_TYPES, REGIONS, SUBJECTS, TEAMS, identifier, port, service


def _bucket(rng: Random) -> Task:
    name = service(rng)
    return Task(
        rng.choice(
            (
                f"Write Terraform for an S3 bucket named {name}.",
                f"Create an S3 bucket called {name} with Terraform.",
                f"I need a Terraform resource for the S3 bucket {name}.",
            )
        ),
        text(f'resource "aws_s3_bucket" "{identifier(name)}" {{', f'  bucket = "{name}"', "}"),
    )


def _versioned_bucket(rng: Random) -> Task:
    name = service(rng)
    key = identifier(name)
    return Task(
        rng.choice(
            (
                f"Write Terraform that turns on versioning for the S3 bucket {name}.",
                f"Create Terraform versioning for the bucket {name}.",
            )
        ),
        text(
            f'resource "aws_s3_bucket_versioning" "{key}" {{',
            f"  bucket = aws_s3_bucket.{key}.id",
            "  versioning_configuration {",
            '    status = "Enabled"',
            "  }",
            "}",
        ),
    )


def _instance(rng: Random) -> Task:
    name, size = service(rng), rng.choice(INSTANCE_TYPES)
    return Task(
        rng.choice(
            (
                f"Write Terraform for a {size} EC2 instance named {name}.",
                f"Create an EC2 instance {name} of type {size} with Terraform.",
            )
        ),
        text(
            f'resource "aws_instance" "{identifier(name)}" {{',
            "  ami           = var.ami",
            f'  instance_type = "{size}"',
            "}",
        ),
    )


def _variable(rng: Random) -> Task:
    name, region = rng.choice(SUBJECTS), rng.choice(REGIONS)
    return Task(
        rng.choice(
            (
                f"Declare a Terraform variable {name}_region with the default {region}.",
                f"Write a Terraform variable named {name}_region that defaults to {region}.",
            )
        ),
        text(f'variable "{name}_region" {{', "  type    = string", f'  default = "{region}"', "}"),
    )


def _output(rng: Random) -> Task:
    name = identifier(service(rng))
    return Task(
        rng.choice(
            (
                f"Write a Terraform output for the ARN of the bucket {name}.",
                f"Output the ARN of the S3 bucket {name} from Terraform.",
            )
        ),
        text(f'output "{name}_arn" {{', f"  value = aws_s3_bucket.{name}.arn", "}"),
    )


def _provider(rng: Random) -> Task:
    region = rng.choice(REGIONS)
    return Task(
        rng.choice(
            (
                f"Configure the Terraform AWS provider for {region}.",
                f"Write the Terraform provider block for AWS in the region {region}.",
            )
        ),
        text('provider "aws" {', f'  region = "{region}"', "}"),
    )


def _backend(rng: Random) -> Task:
    bucket, env = service(rng), rng.choice(ENVIRONMENTS)
    return Task(
        rng.choice(
            (
                f"Keep the Terraform state of {env} in the S3 bucket {bucket}.",
                f"Write a Terraform S3 backend in the bucket {bucket} for {env}.",
            )
        ),
        text(
            "terraform {",
            '  backend "s3" {',
            f'    bucket = "{bucket}"',
            f'    key    = "{env}/terraform.tfstate"',
            "  }",
            "}",
        ),
    )


def _ingress_rule(rng: Random) -> Task:
    name, number = identifier(service(rng)), port(rng)
    return Task(
        rng.choice(
            (
                f"Open port {number} in the Terraform security group {name}.",
                f"Write a Terraform rule that lets TCP port {number} into the security group {name}.",
            )
        ),
        text(
            'resource "aws_security_group_rule" "ingress" {',
            '  type              = "ingress"',
            f"  from_port         = {number}",
            f"  to_port           = {number}",
            '  protocol          = "tcp"',
            f"  security_group_id = aws_security_group.{name}.id",
            "}",
        ),
    )


def _module(rng: Random) -> Task:
    name, team = service(rng), rng.choice(TEAMS)
    return Task(
        rng.choice(
            (
                f"Call the Terraform module {name} for the team {team}.",
                f"Use the local Terraform module {name}, owned by team {team}.",
            )
        ),
        text(f'module "{identifier(name)}" {{', f'  source = "./modules/{name}"', f'  team   = "{team}"', "}"),
    )


KINDS = (
    Kind("terraform-bucket", _bucket),
    Kind("terraform-versioned-bucket", _versioned_bucket),
    Kind("terraform-instance", _instance),
    Kind("terraform-variable", _variable),
    Kind("terraform-output", _output),
    Kind("terraform-provider", _provider),
    Kind("terraform-backend", _backend),
    Kind("terraform-ingress-rule", _ingress_rule),
    Kind("terraform-module", _module),
)
