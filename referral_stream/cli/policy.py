"""`policy check` and `policy init`."""

from __future__ import annotations

from pathlib import Path

import click

from referral_stream.cli.options import Unusable, visible_lines


@click.group("policy", short_help="Check a policy file, or start one.")
def policy_group() -> None:
    """Check a policy file, see what every number means, or start your own file."""


@policy_group.command("check", short_help="Check a policy file and show what it changes.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--show", is_flag=True, help="Print every setting, not only those that differ from the default.")
def policy_check(file: Path, *, show: bool) -> None:
    """Check the policy in FILE: all its errors at once (exit code 2), or what it changes.

    Into a file or a pipe it prints TOML that policy check reads back.

    \b
    Example:
      referral-stream policy check policy.toml --show
    """
    from rich.console import Console

    from referral_stream.cli.render.policy import show_policy
    from referral_stream.contracts.toml_file import read_toml
    from referral_stream.policy_file.reading import PolicyProblem, parse_policy

    try:
        policy = parse_policy(read_toml(file), str(file))
    except PolicyProblem as problem:
        click.echo(visible_lines(str(problem)), err=True)
        raise SystemExit(2) from None
    except OSError as error:
        raise Unusable(f"{file}: {error.strerror}") from None
    show_policy(policy, visible_lines(str(file)), Console(), everything=show)


@policy_group.command("init", short_help="Write a policy file to start from.")
@click.argument("file", type=click.Path(path_type=Path), default=Path("policy.toml"))
def policy_init(file: Path) -> None:
    """Write a policy to FILE (default: policy.toml; - for stdout) that has every setting with its default and meaning.

    Change what you like; lines with #: are examples of what is off. An existing file is left alone.

    \b
    Example:
      referral-stream policy init policy.toml
    """
    from referral_stream.cli.render.policy import starting_file

    content = starting_file()
    if str(file) == "-":
        click.echo(content, nl=False)
        return
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(content)
    except FileExistsError:
        raise click.ClickException(f"{file} already exists; name another file") from None
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None
    click.echo(f"written to {file}; referral-stream policy check {file} shows what you change")
