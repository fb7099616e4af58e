"""`ecgmtl serve`: a web service with a live report page, and predictions as JSON."""

from typing import Annotated

import typer

from ecgmtl.cli.terminal import spoken_errors


def serve(
    model: Annotated[
        str | None,
        typer.Argument(
            help="Model, as `ecgmtl predict` takes it. Default: the bundled one. `ecgmtl models` lists the models.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on; 0 chooses a free one.")] = 8000,
    host: Annotated[
        str, typer.Option(help="Address to serve on. Any address other than 127.0.0.1 lets other computers send files.")
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Further host name under which browsers may open the page, without a port. Repeatable."),
    ] = None,
    max_mb: Annotated[
        float, typer.Option(min=0.1, help="Largest file in megabytes. A request may be four times as large.")
    ] = 16,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print the traceback of an unexpected error, which may quote a file.")
    ] = False,
) -> None:
    """Serve a page that predicts the ECG files dropped on it.

    Ctrl-C stops the service. Programs send files to /api/predict, described in /openapi.json and docs/serve.md. Files
    are read in a private temporary folder, which is removed after each request. No name or content of a file is logged.

    Example: ecgmtl serve runs/ptbxl-… --port 0
    """
    with spoken_errors():
        from ecgmtl.inference.models import BUNDLED
        from ecgmtl.inference.predictor import load_predictor
        from ecgmtl.serve.app import create_app
        from ecgmtl.serve.server import address, hosts_of, is_loopback, listen, run
        from ecgmtl.serve.uploads import Limits

        listener = listen(host, port)
        with listener:
            name = model or BUNDLED
            hosts = hosts_of(host, tuple(allow_host or ()))
            limits = Limits(int(max_mb * 1e6), int(4 * max_mb * 1e6))
            app = create_app(load_predictor(name), name, hosts, limits, debug)
            if not is_loopback(host):
                typer.echo(f"{host}: anyone who can reach this address can send files; there is no password.", err=True)
            run(app, listener, lambda: typer.echo(f"{name}: {address(listener)} (Ctrl-C stops)"))
