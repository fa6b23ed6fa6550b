"""``vb-node rules``: which route would take what, and why."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from vb_node.cli.options import DEFAULT_CONFIG, AsJson, Config, ledger
from vb_node.exit_status import DONE, FAILED

app = typer.Typer(help="Routes and their rules. Example: vb-node rules test slice.dcm", no_args_is_help=True)


@app.command("test")
def rules_test(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A DICOM file, or a folder with a study.")],
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Say which route would take a file's series, and why: 0 if one would, 1 if none. Its folder is its study.

    Example: vb-node rules test study/slice-001.dcm --config node.toml
    """
    from vb_node import config as configuration
    from vb_node import rules, show
    from vb_node.pipeline.application import installed

    found = rules.judge(path, configuration.load(config), installed())
    show.rows("Rules", found, as_json=as_json)
    raise typer.Exit(DONE if any(row["is_taken"] for row in found) else FAILED)


@app.command("dry-run")
def rules_dry_run(
    since: Annotated[datetime, typer.Option(help="Studies of which something came since then, UTC.")],
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Try the routes of a configuration on what has already come, and compare with what was made of it.

    Example: vb-node rules dry-run --since 2026-11-01 --config new.toml
    """
    from vb_node import rules, show
    from vb_node.pipeline.application import installed

    settings, database = ledger(config)
    rows = list(rules.dry_run(database, settings, installed(), since.replace(tzinfo=UTC)))
    show.rows("Dry run", rows, as_json=as_json)
