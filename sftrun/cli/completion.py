"""`sftrun completion`: the script that makes a shell complete commands, runs and recipes."""

import click

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> int:
    """Print the completion script of a shell: commands, options, run names and recipe files.

    \b
    Examples:
      sftrun completion bash > ~/.local/share/bash-completion/completions/sftrun
      sftrun completion zsh > "${fpath[1]}/_sftrun"
      sftrun completion fish > ~/.config/fish/completions/sftrun.fish
    """
    from click.shell_completion import get_completion_class

    from sftrun.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "sftrun", "_SFTRUN_COMPLETE").source())
    return 0
