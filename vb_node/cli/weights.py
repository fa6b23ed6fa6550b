"""``vb-node weights``: what the networks were trained to be, by name and digest."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from storage.account import account
from vb_node.cli.options import DEFAULT_CONFIG, AsJson, Config, ledger
from vb_node.exit_status import DONE, FAILED

if TYPE_CHECKING:
    from vb_node.config import Settings

app = typer.Typer(help="Weights of the networks. Example: vb-node weights verify", no_args_is_help=True)


Name = Annotated[str, typer.Argument(metavar="NAME")]


@app.command("list")
def weights_list(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """List the weights that may be opened, shipped and imported, with their digests, and how they came to be.

    Example: vb-node weights list --json
    """
    from vb_node import show
    from vb_node.models.pins import read_pins, read_site_pin, site_folder, site_names

    pins = [("shipped", name, pin) for name, pin in read_pins().items()]
    if (settings := _settings(config)) is not None:
        names = site_names(settings.data)
        pins += [("imported", name, read_site_pin(site_folder(settings.data, name))) for name in names]
    rows = [
        {
            "name": name,
            "from": origin,
            "network": pin.network,
            "sha256": pin.sha256,
            "command": pin.command,
            "seed": pin.seed,
            "figures": dict(pin.figures),
        }
        for origin, name, pin in pins
    ]
    show.rows("Weights", rows, as_json=as_json)


@app.command("verify")
def weights_verify(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Compare each weights file, shipped or imported, with its digest: 0 if all are what they should be, 1 if not.

    Example: vb-node weights verify
    """
    from vb_node import doctor, show

    settings = _settings(config)
    findings = [*doctor.weights(), *(doctor.site_weights(settings) if settings is not None else ())]
    show.rows("Weights", [vars(one) for one in findings], as_json=as_json)
    raise typer.Exit(FAILED if any(one.state == doctor.WRONG for one in findings) else DONE)


@app.command("import")
def weights_import(
    bundle: Annotated[Path, typer.Argument(metavar="DIR|ZIP", help="A bundle that `vb-node train` wrote.")],
    name: Annotated[str | None, typer.Option("--as", help="Its name here; default: the bundle's.")] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Take weights that a site trained into the node's data: safetensors and JSON alone, nothing of it is evaluated.

    Example: vb-node weights import weights/bundle --as our-cases-1
    """

    from vb_node import site_weights

    settings, database = ledger(config)
    name = name or bundle.resolve().name.removesuffix(".zip")
    pin = site_weights.add(database, settings, bundle, name, user=account())
    setting = "diagnoser" if pin.network == "diagnoser" else "localizer_weights"
    typer.echo(f'weights {name}, sha256 {pin.sha256}; to use them: [virtual_biopsy] {setting} = "{name}"')


@app.command("remove")
def weights_remove(name: Name, config: Config = DEFAULT_CONFIG) -> None:
    """Remove weights that were imported and that the configuration does not name.

    Example: vb-node weights remove our-cases-1
    """

    from vb_node import site_weights

    settings, database = ledger(config)
    site_weights.remove(database, settings, name, user=account())
    typer.echo(f"weights {name} are removed")


def _settings(config: Path) -> "Settings | None":
    """Read the configuration; what is shipped can be looked at without one."""
    from vb_node import config as configuration

    return None if config == DEFAULT_CONFIG and not config.exists() else configuration.load(config)
