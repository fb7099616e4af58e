"""`ecgmtl ui`: open MLflow's user interface."""

from typing import Annotated

import typer

from ecgmtl.cli.terminal import spoken_errors


def ui(port: Annotated[int, typer.Option(min=0, help="Port to serve on; 0 chooses a free one.")] = 5000) -> None:
    """Serve MLflow's user interface for the current folder.

    It shows the runs of the folder until Ctrl-C. Two addresses are printed once the server is ready: one of the
    experiment's curves, and one of the table of its runs. If MLFLOW_TRACKING_URI names a server, its addresses are
    printed and nothing is started.
    """
    with spoken_errors():
        from ecgmtl.tracking.ui import serve

        code = serve(port, say=typer.echo)
    raise typer.Exit(code)
