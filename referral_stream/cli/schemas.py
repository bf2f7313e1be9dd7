"""`schemas write` and `schemas check`."""

from __future__ import annotations

from pathlib import Path

import click


@click.group(short_help="Write the JSON Schemas of all messages, or check them.")
def schemas() -> None:
    """Write the JSON Schemas of all messages, or check that the files on disk are current."""


_SCHEMAS_FOLDER = click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("schemas"),
    show_default=True,
    help="The folder of the schema files.",
)


@schemas.command("write", short_help="Write a JSON Schema per message.")
@_SCHEMAS_FOLDER
def schemas_write(folder: Path) -> None:
    """Write a JSON Schema per message; files of messages that no longer exist are removed."""
    from referral_stream.published.schemas import documents

    wanted = documents()
    present = _schemas_in(folder)
    try:
        for path in sorted(present.keys() - wanted.keys()):
            (folder / path).unlink()
        for path, content in wanted.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    changed = sum(present.get(path) != content for path, content in wanted.items())
    removed = len(present.keys() - wanted.keys())
    click.echo(f"{len(wanted)} schemas in {folder}: {changed} changed, {removed} removed")


@schemas.command("check", short_help="Compare the files with this version's messages.")
@_SCHEMAS_FOLDER
def schemas_check(folder: Path) -> None:
    """Compare the files with the messages of this version; exit code 1 if they differ."""
    from referral_stream.published.schemas import drift

    if not folder.is_dir():
        raise click.ClickException(f"no schemas in {folder}: name their folder with --to, or write them there first")
    findings = drift(_schemas_in(folder))
    for finding in findings:
        click.echo(finding)
    click.echo(f"{len(findings)} differ: referral-stream schemas write --to {folder}" if findings else "all current")
    raise SystemExit(1 if findings else 0)


def _schemas_in(folder: Path) -> dict[str, bytes]:
    """Path below ``folder`` → content, of what lies in the folders of the contract; beside them only what it knows."""
    from referral_stream.published.schemas import documents

    wanted = documents()
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.json"))}
    ours = {path.rpartition("/")[0] for path in wanted} - {""}
    return {
        path: file.read_bytes() for path, file in found.items() if path in wanted or path.rpartition("/")[0] in ours
    }
