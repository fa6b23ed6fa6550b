"""``vb-node weights``: what the networks were trained to be, by name and digest."""

import typer

from vb_node.cli.options import AsJson
from vb_node.exit_status import DONE, FAILED

app = typer.Typer(help="Weights of the networks. Example: vb-node weights verify", no_args_is_help=True)


@app.command("list")
def weights_list(as_json: AsJson = False) -> None:
    """List the weights that may be opened, with their digests, and how they came to be.

    Example: vb-node weights list --json
    """
    from vb_node import show
    from vb_node.models.pins import read_pins

    rows = [
        {"name": name, "sha256": pin.sha256, "command": pin.command, "seed": pin.seed, "figures": dict(pin.figures)}
        for name, pin in read_pins().items()
    ]
    show.rows("Weights", rows, as_json=as_json)


@app.command("verify")
def weights_verify(as_json: AsJson = False) -> None:
    """Open each weights file as a job would and compare it with its digest: 0 if all are what they should be, 1 if not.

    Example: vb-node weights verify
    """
    from vb_node import doctor, show

    findings = doctor.weights()
    show.rows("Weights", [vars(one) for one in findings], as_json=as_json)
    raise typer.Exit(FAILED if any(one.state == doctor.WRONG for one in findings) else DONE)
