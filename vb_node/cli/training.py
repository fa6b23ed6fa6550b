"""Commands that make cases, and train networks on them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vb_node.cli.options import Backbone, Device, Masks, TumorPool

app = typer.Typer()
train_app = typer.Typer(help="Train the networks. Example: vb-node train diagnoser --out weights", no_args_is_help=True)

TENSORBOARD = typer.Option(help="Draw loss and learning rate into this folder, for `tensorboard --logdir`.")


@app.command()
def phantom(
    out: Annotated[Path, typer.Option(help="Where the cases go.", file_okay=False)],
    cases: Annotated[int, typer.Option(min=1)] = 1,
    seed: Annotated[int, typer.Option()] = 0,
    kind: Annotated[Literal["dicom", "nifti"], typer.Option("--as")] = "dicom",
    motion_mm: Annotated[float, typer.Option(min=0, help="How far each head moves while it is scanned.")] = 0.0,
) -> None:
    """Make phantoms: heads with a labelled tumour that no patient ever had.

    Example: vb-node phantom --out phantoms --cases 4 --seed 1
    """
    from vb_node import show
    from vb_node.training.phantom import generate

    with show.progress() as bar:
        task = bar.add_task("phantoms", total=cases)
        generate(out, cases, seed, kind, lambda done, total: bar.update(task, completed=done, total=total), motion_mm)
    typer.echo(f"{cases} phantoms in {out}")


@train_app.command("diagnoser")
def train_diagnoser(  # noqa: PLR0913, PLR0917  one parameter an option
    out: Annotated[Path, typer.Option(help="Where the weights go; a training that was stopped goes on from there.")],
    data: Annotated[Path | None, typer.Option(help="A site's cases: a folder or a manifest; else phantoms.")] = None,
    cases: Annotated[int, typer.Option(min=8, help="How many phantoms, without --data.")] = 1200,
    seed: Annotated[int, typer.Option()] = 1,
    epochs: Annotated[int, typer.Option(min=1)] = 10,
    masks: Masks = "drawn",
    start: Annotated[Path | None, typer.Option(help="A bundle, or shipped: go on from its weights, on --data.")] = None,
    backbone: Backbone = None,
    tumor_pool: TumorPool = None,
    device: Device = "auto",
    tensorboard: Annotated[Path | None, TENSORBOARD] = None,
) -> None:
    """Train Adaptive-Diagnoser, on generated phantoms or a site's cases; docs/training.md says how.

    Example: vb-node train diagnoser --out weights --data cases/manifest.csv --seed 1
    """
    from vb_node import show
    from vb_node.evaluation.finished import architecture_with, open_finished
    from vb_node.models.device import choose
    from vb_node.training.curves import to_tensorboard
    from vb_node.training.fit import Course

    with show.progress() as bar, to_tensorboard(tensorboard) as curve:
        task = bar.add_task("training", total=None)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        opened = open_finished(start) if start else None
        architecture = architecture_with(backbone, tumor_pool, opened)
        course = Course(seed, epochs, start=opened, architecture=architecture, device=choose(device))
        if data is None and start is None:
            from vb_node.training.diagnoser import train_diagnoser as train

            figures = train(out, cases, course, tell, curve)
        else:
            from vb_node.evaluation.learn import train_on_cases
            from vb_node.evaluation.prepare import Source

            figures = train_on_cases(Source(data, masks=masks), out, course, tell, curve)
    show.table("Diagnoser, on held-out cases", ["", ""], [(name, f"{value:.3g}") for name, value in figures.items()])
    typer.echo(f"{out / 'bundle'}: install it with `vb-node weights import`")


@train_app.command("localizer")
def train_localizer(  # noqa: PLR0913, PLR0917  one parameter an option
    out: Annotated[Path, typer.Option(help="Where the weights go; a training that was stopped goes on from there.")],
    data: Annotated[Path | None, typer.Option(help="A site's cases with masks, beside the heads.")] = None,
    heads: Annotated[int, typer.Option(min=2)] = 48,
    seed: Annotated[int, typer.Option()] = 1,
    steps: Annotated[int, typer.Option(min=1)] = 8150,
    phantoms: Annotated[int, typer.Option(min=0, help="How many heads with a phantom's tumour, too.")] = 0,
    start: Annotated[Path | None, typer.Option(help="Go on from a bundle, a training's folder, or shipped.")] = None,
    device: Device = "auto",
    tensorboard: Annotated[Path | None, TENSORBOARD] = None,
) -> None:
    """Train the `network` slice detector on generated heads and a site's cases; docs/training.md says how.

    Example: vb-node train localizer --data cases --start shipped --steps 1000 --out weights
    """
    from vb_node import show
    from vb_node.evaluation.finished import open_localizer
    from vb_node.evaluation.learn_localizer import train_localizer_on_cases
    from vb_node.models.device import choose
    from vb_node.training.curves import to_tensorboard
    from vb_node.training.fit_localizer import Lesson
    from vb_node.training.fit_localizer import train_localizer as train

    lesson = Lesson(heads, seed, steps, phantoms, open_localizer(start) if start else None, choose(device))

    with show.progress() as bar, to_tensorboard(tensorboard) as curve:
        task = bar.add_task("training", total=None)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if data is None:
            figures = train(out, lesson, tell, curve=curve)
        else:
            figures = train_localizer_on_cases(data, out, lesson, tell, curve)
    show.rows("Localizer", [figures], as_json=False)
    typer.echo(f"{out / 'bundle'}: install it with `vb-node weights import`")
