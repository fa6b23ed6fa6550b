"""The command line. Each command imports what it needs when it runs, so that ``--help`` answers at once.

Exit status: 0 done; 1 failed; 2 wrong usage or configuration; 3 not analysed (a result that says why was written).
"""

import sys
from errno import EACCES, EEXIST, EISDIR, ENOTDIR, EPERM, EROFS

import typer

from vb_node.cli import audit, configuration, evaluation, jobs, network, node, rules, training, users, weights
from vb_node.exit_status import FAILED, WRONG_USAGE
from vb_node.runtime import collector

OF_A_PATH = (EACCES, EEXIST, EISDIR, ENOTDIR, EPERM, EROFS)  # errors that another path, or other rights, would mend

app = typer.Typer(
    name="vb-node",
    help="A DICOM node: MR series come in, the Virtual Biopsy pipeline runs, SEG and SR go back. Investigational.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (node.app, network.app, training.app):
    app.add_typer(commands)  # without a name: its commands stand at the top
app.add_typer(jobs.app, name="jobs")
app.add_typer(audit.app, name="audit")
app.add_typer(rules.app, name="rules")
app.add_typer(configuration.app, name="config")
app.add_typer(users.app, name="users")
app.add_typer(weights.app, name="weights")
app.add_typer(training.train_app, name="train")
app.add_typer(evaluation.app, name="evaluate")


def run() -> None:
    """Run the command line; an error that a person can mend is told in one paragraph, not as a stack trace."""
    from vb_node.errors import ConfigError, NodeError  # late: keeps --help fast

    collector.relax()
    try:
        app()
    except ConfigError as error:
        sys.exit(_tell(error, WRONG_USAGE))
    except NodeError as error:
        sys.exit(_tell(error, FAILED))
    except OSError as error:
        if error.filename is None or error.errno not in OF_A_PATH:
            raise
        why = f"{error.filename}: {error.strerror}; give a path that may be read, or a folder that may be written"
        sys.exit(_tell(NodeError(why), FAILED))


def _tell(error: Exception, status: int) -> int:
    typer.echo(f"vb-node: {error}", err=True)
    return status
