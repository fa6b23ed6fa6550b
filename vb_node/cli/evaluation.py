"""Commands that measure on a site's own cases."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Measure on a site's own cases. Example: vb-node evaluate diagnoser --data cases --out evaluation",
    no_args_is_help=True,
)
Data = Annotated[Path, typer.Option(help="A site's cases: a folder or a manifest (docs/training.md).")]
Out = Annotated[Path, typer.Option(help="Where the report goes; what was stopped goes on from there.")]
Seed = Annotated[int, typer.Option()]


@app.command("diagnoser")
def evaluate_diagnoser(
    data: Data,
    out: Out,
    folds: Annotated[int, typer.Option(min=2)] = 5,
    seed: Seed = 1,
    epochs: Annotated[int, typer.Option(min=1)] = 12,
    weights: Annotated[Path | None, typer.Option(help="A bundle: test it on all cases, and train nothing.")] = None,
) -> None:
    """Cross-validate Adaptive-Diagnoser by patient, or test a bundle: figures with intervals, and an HTML report.

    Example: vb-node evaluate diagnoser --data cases/manifest.csv --folds 5 --seed 1 --out evaluation
    """
    from vb_node import show
    from vb_node.evaluation.diagnoser import Protocol
    from vb_node.evaluation.measure_diagnoser import evaluate_diagnoser as evaluate
    from vb_node.evaluation.measure_diagnoser import rows_for_people

    with show.progress() as bar:
        task = bar.add_task("evaluating", total=None)
        protocol = Protocol(folds, seed, epochs)
        measured = evaluate(
            data, out, protocol, weights, lambda done, total: bar.update(task, completed=done, total=total)
        )
    show.rows("Diagnoser", rows_for_people(measured), as_json=False)
    typer.echo(f"{out / 'report.html'}")
