"""Commands that measure on a site's own cases."""

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vb_node.cli.options import AsJson, Backbone, Device, Masks, TumorPool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vb_node.evaluation.benchmarks.gates import Found
    from vb_node.evaluation.figures import Figure
    from vb_node.training.phantom import Progress

app = typer.Typer(
    help="Measure on a site's own cases, or on generated ones. Example: vb-node evaluate cases cases --start shipped",
    no_args_is_help=True,
)
Data = Annotated[Path | None, typer.Option(help="A site's cases: a folder or a manifest; else the benchmark.")]
Out = Annotated[Path, typer.Option(help="Where the report goes; what was stopped goes on from there.", file_okay=False)]
Site = Annotated[Path | None, typer.Option("--config", help="A configuration file for the application's settings.")]
Seed = Annotated[int, typer.Option()]
Seeds = Annotated[int, typer.Option(min=1, help="Of the benchmark, without --data.")]
Folds = Annotated[int, typer.Option(min=0, help="0: five, or fewer where a class has fewer patients.")]
Epochs = Annotated[int, typer.Option(min=1)]
Start = Annotated[
    Path | None, typer.Option(help="A bundle, or shipped: each fold's training goes on from its weights.")
]
EVALUATION = Path("evaluation")  # a folder in it for each command
OF_CASES = "of a site's cases: give them with --data, or leave it out for the benchmark"
OF_THE_BENCHMARK = "of the benchmark, which draws its own: leave it out, or leave --data out"


@app.command("diagnoser")
def evaluate_diagnoser(  # noqa: PLR0913, PLR0917  one parameter an option
    out: Out = EVALUATION / "diagnoser",
    data: Annotated[Path | None, typer.Option(help="A site's cases: a folder or a manifest; else phantoms.")] = None,
    phantoms: Annotated[int, typer.Option(min=20, help="How many, without --data.")] = 100,
    folds: Folds = 0,
    seed: Seed = 1,
    epochs: Epochs = 12,
    weights: Annotated[
        Path | None, typer.Option(help="A bundle, or shipped: test it on all cases, and train nothing.")
    ] = None,
    masks: Masks = "drawn",
    start: Start = None,
    baseline: Annotated[
        Path | None, typer.Option(help="A training on phantoms: the arm without mask goes on from its network.")
    ] = None,
    backbone: Backbone = None,
    tumor_pool: TumorPool = None,
    device: Device = "auto",
    as_json: AsJson = False,
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

    with _bar("evaluating") as tell:
        opened = open_finished(start) if start else None
        architecture = architecture_with(backbone, tumor_pool, opened)
        without = open_baseline(baseline, opened) if baseline else None
        protocol = Protocol(folds, seed, epochs, opened, without, architecture, choose(device))
        measured = evaluate(Source(data, phantoms, masks), out, protocol, weights, tell)
    if as_json:
        show.document(_results(out))
        return
    show.table("Diagnoser", ["", *measured], rows_for_people(measured))
    typer.echo(f"{out / 'report.html'}")


@app.command("mca")
def evaluate_mca(seeds: Seeds = 3, as_json: AsJson = False) -> None:
    """Benchmark A: Masked Channel Attention against global pooling, a tiny lesion among look-alikes; 1 if a gate fails.

    Example: vb-node evaluate mca --seeds 3
    """
    from vb_node.evaluation.benchmarks.run import benchmark_a

    with _bar("trainings") as tell:
        found = benchmark_a(range(seeds), tell)
    _judge(found, as_json)


@app.command("localizer")
def evaluate_localizer(  # noqa: PLR0913, PLR0917  one parameter an option
    context: typer.Context,
    data: Data = None,
    out: Out = EVALUATION / "localizer",
    localizer: Annotated[
        Literal["auto", "classical", "network", "vlm"] | None, typer.Option(help="Default: as configured.")
    ] = None,
    config: Site = None,
    seed: Seed = 1,
    seeds: Seeds = 3,
    as_json: AsJson = False,
) -> None:
    """Measure Tumor-Localizer on cases with masks and on heads without tumour: figures with intervals, HTML report.

    Without --data benchmark B: what it makes of a weak detector's boxes in generated heads; 1 if a gate fails.

    Example: vb-node evaluate localizer --data cases/manifest.csv --localizer network --out evaluation
    """
    if data is None:
        from vb_node.evaluation.benchmarks.run import benchmark_b

        _refuse(context, {"out", "localizer", "config", "seed"}, OF_CASES)
        with _bar("seeds") as tell:
            found = benchmark_b(range(seeds), tell)
        _judge(found, as_json)
        return
    _refuse(context, {"seeds"}, OF_THE_BENCHMARK)
    from vb_node import config as configuration
    from vb_node.evaluation.localizer import evaluate_localizer as evaluate

    settings = configuration.load(config) if config else configuration.Settings()
    chosen = settings.virtual_biopsy.model_copy(update={"localizer": localizer} if localizer else {})
    with _bar("localising") as tell:
        figures = evaluate(data, out, settings.model_copy(update={"virtual_biopsy": chosen}), seed, tell)
    _tell("Localizer", figures, out, as_json)


@app.command("pipeline")
def evaluate_pipeline(  # noqa: PLR0913, PLR0917  one parameter an option
    context: typer.Context,
    data: Data = None,
    out: Out = EVALUATION / "pipeline",
    config: Site = None,
    seed: Seed = 1,
    seeds: Seeds = 1,
    as_json: AsJson = False,
) -> None:
    """Run the application from DICOM to class on cases whose class is known: figures with intervals, HTML report.

    Without --data benchmark C: four phantoms a seed, from shuffled DICOM series to SEG and SR; 1 if a gate fails.

    Example: vb-node evaluate pipeline --data cases/manifest.csv --config node.toml --out evaluation
    """
    from vb_node import config as configuration

    settings = configuration.load(config) if config else configuration.Settings()
    if data is None:
        from vb_node.evaluation.benchmarks.dicom_to_dicom import benchmark_c

        _refuse(context, {"out", "seed"}, OF_CASES)
        with _bar("phantoms") as tell:
            found = benchmark_c(range(seeds), settings, tell)
        _judge(found, as_json)
        return
    _refuse(context, {"seeds"}, OF_THE_BENCHMARK)
    from vb_node.evaluation.pipeline import evaluate_pipeline as evaluate

    with _bar("cases") as tell:
        figures = evaluate(data, out, settings, seed, tell)
    _tell("Pipeline", figures, out, as_json)


@app.command("cases")
def evaluate_cases(  # noqa: PLR0913, PLR0917  one parameter an option
    manifest: Annotated[Path, typer.Argument(help="A site's cases: a manifest or a folder (docs/training.md).")],
    out: Out = EVALUATION / "cases",
    folds: Folds = 0,
    seed: Seed = 1,
    epochs: Epochs = 12,
    masks: Masks = "drawn",
    start: Start = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Cross-validate on labelled cases, by patient: as `evaluate diagnoser --data MANIFEST`, tables, plots and all.

    Example: vb-node evaluate cases cases/manifest.csv --start shipped --out evaluation
    """
    evaluate_diagnoser(
        out, manifest, folds=folds, seed=seed, epochs=epochs, masks=masks, start=start, device=device, as_json=as_json
    )


def _refuse(context: typer.Context, names: set[str], why: str) -> None:
    """Refuse options that would change nothing; raise ``ConfigError``."""
    from vb_node.errors import ConfigError

    for name in sorted(names):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ConfigError(f"--{name} is {why}")


@contextmanager
def _bar(words: str) -> "Iterator[Progress]":
    """Show a progress bar, and give what moves it."""
    from vb_node import show

    with show.progress() as bar:
        task = bar.add_task(words, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _judge(found: "Found", as_json: bool) -> None:
    """Print a benchmark and its gates; exit with 1 where one does not hold."""
    from vb_node import show
    from vb_node.exit_status import DONE, FAILED

    if as_json:
        show.document(found.told())
    else:
        columns = list(dict.fromkeys(name for line in found.lines.values() for name in line))
        rows = [[name, *(_figure(line.get(column, "")) for column in columns)] for name, line in found.lines.items()]
        show.table(found.title, ["", *columns], rows)
        gates = [[one.what, _figure(one.value), one.limits, "yes" if one.holds else "NO"] for one in found.gates]
        show.table("Gates", ["", "found", "expected", "holds"], gates)
    raise typer.Exit(DONE if found.holds else FAILED)


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3f}"


def _tell(title: str, figures: "Mapping[str, Figure]", out: Path, as_json: bool) -> None:
    from vb_node import show
    from vb_node.evaluation.report import shown

    if as_json:
        show.document(_results(out))
        return
    show.table(title, ["", "95 % interval"], [(name, shown(figure)) for name, figure in figures.items()])
    typer.echo(f"{out / 'report.html'}")


def _results(out: Path) -> dict[str, Any]:
    """Read what an evaluation left for programs."""
    from vb_node.evaluation.report import RESULTS

    return dict(json.loads((out / RESULTS).read_text("utf-8")))
