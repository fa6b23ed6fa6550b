"""Commands that measure on a site's own cases."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vb_node.cli.options import Backbone, Device, Masks, TumorPool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vb_node.evaluation.figures import Figure

app = typer.Typer(
    help="Measure on a site's own cases. Example: vb-node evaluate diagnoser --data cases --out evaluation",
    no_args_is_help=True,
)
Data = Annotated[Path, typer.Option(help="A site's cases: a folder or a manifest (docs/training.md).")]
Out = Annotated[Path, typer.Option(help="Where the report goes; what was stopped goes on from there.")]
Site = Annotated[Path | None, typer.Option("--config", help="A configuration file for the application's settings.")]
Seed = Annotated[int, typer.Option()]


@app.command("diagnoser")
def evaluate_diagnoser(  # noqa: PLR0913, PLR0917  one parameter an option
    out: Out,
    data: Annotated[Path | None, typer.Option(help="A site's cases: a folder or a manifest; else phantoms.")] = None,
    phantoms: Annotated[int, typer.Option(min=20, help="How many, without --data.")] = 100,
    folds: Annotated[int, typer.Option(min=2)] = 5,
    seed: Seed = 1,
    epochs: Annotated[int, typer.Option(min=1)] = 12,
    weights: Annotated[
        Path | None, typer.Option(help="A bundle, or shipped: test it on all cases, and train nothing.")
    ] = None,
    masks: Masks = "drawn",
    start: Annotated[
        Path | None, typer.Option(help="A bundle, or shipped: each fold's training goes on from its weights.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="A training on phantoms: the arm without mask goes on from its network.")
    ] = None,
    backbone: Backbone = None,
    tumor_pool: TumorPool = None,
    device: Device = "auto",
) -> None:
    """Cross-validate Adaptive-Diagnoser by patient, or test a bundle: figures with intervals, and an HTML report.

    Example: vb-node evaluate diagnoser --data cases/manifest.csv --folds 5 --seed 1 --out evaluation
    """
    from vb_node import show
    from vb_node.evaluation.diagnoser import Protocol
    from vb_node.evaluation.finished import architecture_with, open_baseline, open_finished
    from vb_node.evaluation.measure_diagnoser import evaluate_diagnoser as evaluate
    from vb_node.evaluation.measure_diagnoser import rows_for_people
    from vb_node.evaluation.prepare import Source
    from vb_node.models.device import choose

    with show.progress() as bar:
        task = bar.add_task("evaluating", total=None)
        opened = open_finished(start) if start else None
        architecture = architecture_with(backbone, tumor_pool, opened)
        without = open_baseline(baseline, opened) if baseline else None
        protocol = Protocol(folds, seed, epochs, opened, without, architecture, choose(device))
        measured = evaluate(
            Source(data, phantoms, masks),
            out,
            protocol,
            weights,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    show.table("Diagnoser", ["", *measured], rows_for_people(measured))
    typer.echo(f"{out / 'report.html'}")


@app.command("localizer")
def evaluate_localizer(  # noqa: PLR0913, PLR0917  one parameter an option
    data: Data,
    out: Out,
    localizer: Annotated[
        Literal["auto", "classical", "network", "vlm"] | None, typer.Option(help="Default: as configured.")
    ] = None,
    config: Site = None,
    seed: Seed = 1,
) -> None:
    """Measure Tumor-Localizer on cases with masks and on heads without tumour: figures with intervals, HTML report.

    Example: vb-node evaluate localizer --data cases/manifest.csv --localizer network --out evaluation
    """
    from vb_node import config as configuration
    from vb_node import show
    from vb_node.evaluation.localizer import evaluate_localizer as evaluate

    settings = configuration.load(config) if config else configuration.Settings()
    chosen = settings.virtual_biopsy.model_copy(update={"localizer": localizer} if localizer else {})
    with show.progress() as bar:
        task = bar.add_task("localising", total=None)
        device = settings.work.device
        figures = evaluate(
            data, out, chosen, device, seed, lambda done, total: bar.update(task, completed=done, total=total)
        )
    _tell("Localizer", figures, out)


@app.command("pipeline")
def evaluate_pipeline(data: Data, out: Out, config: Site = None, seed: Seed = 1) -> None:
    """Run the application from DICOM to class on cases whose class is known: figures with intervals, HTML report.

    Example: vb-node evaluate pipeline --data cases/manifest.csv --config node.toml --out evaluation
    """
    from vb_node import config as configuration
    from vb_node import show
    from vb_node.evaluation.pipeline import evaluate_pipeline as evaluate

    settings = configuration.load(config) if config else configuration.Settings()
    with show.progress() as bar:
        task = bar.add_task("cases", total=None)
        figures = evaluate(data, out, settings, seed, lambda done, total: bar.update(task, completed=done, total=total))
    _tell("Pipeline", figures, out)


def _tell(title: str, figures: "Mapping[str, Figure]", out: Path) -> None:
    from vb_node import show
    from vb_node.evaluation.report import shown

    show.table(title, ["", "95 % interval"], [(name, shown(figure)) for name, figure in figures.items()])
    typer.echo(f"{out / 'report.html'}")
