"""The web application: the page, its cards, and the endpoint for programs with its OpenAPI description."""

import errno
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from threading import Event
from typing import Annotated, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, FastAPI, HTTPException, Query, Request, UploadFile
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp

from data_prep.files import FULL
from data_prep.readers import OtherFile, ReadOptions
from data_prep.safe_text import printable, printable_lines
from ecgmtl import __version__
from ecgmtl.inference.options import PredictOptions
from ecgmtl.inference.predictor import Predictor
from ecgmtl.inference.result import Failure, Result
from ecgmtl.inference.windows import Window
from ecgmtl.report_page.facts import facts
from ecgmtl.serve.answers import Answer, OtherAnswer, answer_of, others_of
from ecgmtl.serve.guard import Guard
from ecgmtl.serve.page import live_page, policy
from ecgmtl.serve.predictions import make_card, predict_uploads
from ecgmtl.serve.uploads import Limits, Upload

DESCRIPTION = """Predictions for ECG files. Not a medical device; for research only.

A WFDB record is several files: send its `.hea` and its `.dat` or `.mat` in one request."""
BATCH = 16
"""Number of records that are read and classified at once."""
T = TypeVar("T")
log = logging.getLogger(__name__)


class Service:
    """A model with the limits of its use. Predictions run one after another in a thread of their own."""

    def __init__(self, predictor: Predictor, model: str, limits: Limits, debug: bool) -> None:
        self.predictor, self.limits, self.debug = predictor, limits, debug
        self.facts = facts(predictor.metadata, model)
        self.turn = CapacityLimiter(1)

    async def run(
        self, files: list[UploadFile], options: PredictOptions, collect: Callable[[Iterator[Result]], T]
    ) -> T:
        """Predict the files of a request, and return what `collect` makes of the results.

        Raises:
            HTTPException: there are too many files.
        """
        if len(files) > self.limits.n_files:
            raise HTTPException(413, f"A request may have at most {self.limits.n_files} files; found {len(files)}.")
        uploads = [Upload(file.filename or "", file.size or 0, file.file) for file in files]
        stop = Event()
        try:
            return await to_thread.run_sync(lambda: collect(self.results(uploads, options, stop)), limiter=self.turn)
        finally:
            stop.set()  # the thread, too, if the request is canceled, since the process waits for it

    def results(self, uploads: list[Upload], options: PredictOptions, stop: Event) -> Iterator[Result]:
        """Yield the results until `stop` is set, and log the traceback of each bug if that was asked for."""
        with closing(predict_uploads(self.predictor, uploads, options, self.limits)) as results:
            for result in results:
                if stop.is_set():
                    return
                if self.debug and isinstance(result, Failure) and result.traceback:
                    log.warning(printable_lines(result.traceback))
                yield result

    def answer(self, results: Iterator[Result]) -> Answer:
        """Return the response to a program."""
        others: list[OtherFile] = []
        answers = []
        for result in results:
            if isinstance(result, OtherFile):
                others.append(result)
            else:
                answers.append(answer_of(result, self.predictor.metadata))
        model, label_set, notice = (self.facts[key] for key in ("model", "label_set", "notice"))
        other_files = others_of(others)
        return Answer(model=model, label_set=label_set, notice=notice, results=answers, other_files=other_files)

    def cards(self, results: Iterator[Result]) -> dict[str, list[Any]]:
        """Return the response to the page: cards with their packed drawings, and the other files."""
        cards: list[dict[str, Any]] = []
        others: list[OtherAnswer] = []
        for result in results:
            if isinstance(result, OtherFile):
                others += others_of([result])
            else:
                cards.append(make_card(result, self.predictor)._asdict())
        return {"cards": cards, "others": [other.model_dump() for other in others]}


def read_request_options(
    fs: Annotated[
        float | None, Query(description="Sampling rate in hertz, for files that state none or an impossible one.")
    ] = None,
    unit: Annotated[
        str | None, Query(description="Unit of the values: mV, uV, nV or V; replaces a stated one.")
    ] = None,
    leads: Annotated[
        str | None,
        Query(description="Leads of the columns in their order, for files that do not name them: I,II,III,…"),
    ] = None,
    window: Annotated[
        Window,
        Query(
            description="What is predicted of a recording longer than the model's input: its first window, its best "
            "one (the fewest findings and the least noise), or the mean over all of its windows."
        ),
    ] = Window.FIRST,
) -> PredictOptions:
    """Return the options in the query of a request.

    Raises:
        HTTPException: a value is impossible.
    """
    try:
        return PredictOptions(ReadOptions.of_text(fs, unit, leads), BATCH, window)
    except ValueError as error:
        raise HTTPException(400, printable(str(error))) from None


def cannot_store(error: OSError) -> JSONResponse:
    """Return the response to a request whose files cannot be stored, and log the reason, which names no file."""
    why = error.strerror or type(error).__name__
    if error.errno in (errno.EMFILE, errno.ENFILE):
        log.error("The service cannot open another file: %s. Raise `ulimit -n`.", why)
        return JSONResponse(
            {"detail": f"The service cannot open another file: {why}. Send the files again later."}, 503
        )
    reason = f"The temporary folder of the service cannot be written: {why}."
    remedy = "Make room in it" if error.errno in FULL else "Allow it"
    log.error("%s It is %s. %s, or set TMPDIR to another one.", reason, tempfile.tempdir, remedy)
    return JSONResponse({"detail": f"{reason} {remedy}, and send the files again."}, 507)


Requested = Annotated[PredictOptions, Depends(read_request_options)]


def create_app(
    predictor: Predictor,
    model: str,
    hosts: tuple[str, ...],
    limits: Limits = Limits(),  # noqa: B008, it is immutable
    debug: bool = False,
) -> ASGIApp:
    """Return the application. `hosts` are the names under which browsers may ask for it, without a port."""
    service = Service(predictor, model, limits, debug)
    page = live_page(service.facts, limits)
    app = FastAPI(title="ecgmtl", version=__version__, description=DESCRIPTION, docs_url=None, redoc_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)

    @app.exception_handler(OSError)
    async def answer_unstored(_request: Request, error: OSError) -> JSONResponse:
        return cannot_store(error)

    @app.exception_handler(StarletteHTTPException)
    async def answer_error(request: Request, error: StarletteHTTPException) -> Response:
        if isinstance(error.__cause__, OSError):  # while the body was read, which FastAPI calls the client's fault
            return cannot_store(error.__cause__)
        return await http_exception_handler(request, error)

    @app.get("/", include_in_schema=False)
    async def show_page() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": f"{policy()}; frame-ancestors 'none'"})

    @app.get("/api/model")
    async def describe_model() -> dict[str, Any]:
        """Return the labels of the model, their thresholds, what these mean, and what the model is for."""
        return service.facts

    @app.post("/api/predict")
    async def predict(files: list[UploadFile], options: Requested) -> Answer:
        """Predict the ECGs among the files. A file that fails is a result with its reason; the others go on."""
        return await service.run(files, options, service.answer)

    @app.post("/api/cards", include_in_schema=False)
    async def make_cards(files: list[UploadFile], options: Requested) -> dict[str, list[Any]]:
        return await service.run(files, options, service.cards)

    return Guard(app, limits.request_bytes)
