"""``vb-node config``: what another configuration would change, and its way into a node that runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vb_node.cli.options import DEFAULT_CONFIG, AsJson, Config
from vb_node.exit_status import FAILED

app = typer.Typer(
    help="The configuration of a node that runs. Example: vb-node config apply new.toml", no_args_is_help=True
)
New = Annotated[Path, typer.Argument(metavar="NEW.toml", help="The configuration that is to take the place.")]


@app.command("diff")
def config_diff(new: New, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Show what another configuration would change, key by key; secrets are not shown.

    Example: vb-node config diff new.toml
    """
    from vb_node import reconfigure, show

    show.rows("Changes", [vars(one) for one in reconfigure.compare(config, new)], as_json=as_json)


@app.command("apply")
def config_apply(
    new: New,
    config: Config = DEFAULT_CONFIG,
    anyway: Annotated[bool, typer.Option("--anyway", help="Even where the doctor finds something wrong.")] = False,
) -> None:
    """Check another configuration, put it in the place of the node's file, and bring the running node to it.

    Only the stations that it concerns start anew; associations that are open go on. What a station cannot start with
    is taken back, from the node and from the file. Who changed what is in the audit trail.

    Example: vb-node config apply new.toml
    """
    from vb_node import reconfigure, show

    def present(title: str, rows: list[dict[str, Any]]) -> None:
        show.rows(title, rows, as_json=False)

    outcome = reconfigure.apply(config, new, is_forced=anyway, present=present)
    typer.echo(outcome.words)
    raise typer.Exit(0 if outcome.is_applied else FAILED)
