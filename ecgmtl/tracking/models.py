"""Models in MLflow: logged with a description, and registered under a name with an alias."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ecgmtl.tracking.outbox import reason_of
from ecgmtl.tracking.store import NOTE, TrackingError, default_store, import_mlflow

ALIAS = "champion"
"""Alias of the version that was registered last. `models:/NAME@champion` is its URI."""

MAX_DESCRIPTION = 5_000
"""Characters. MLflow's database has no room for more."""

REGISTERED_NOTE = "Classifiers of 12-lead ECGs that ecgmtl trained. Each version's description says what it reads."


def require_model_name(name: str) -> None:
    """Raise TrackingError unless MLflow can register a model under this name."""
    if not re.fullmatch(r"\w[\w .-]*", name):
        raise TrackingError(
            f"--register {name!r}: should be a name of letters, digits, spaces, '.', '_' and '-', for example "
            "--register ecg-classifier."
        )


def log_model(
    client: Any,
    experiment_id: str,
    run_id: str | None,
    folder: Path,
    name: str,
    description: str,
    params: Mapping[str, object],
) -> str:
    """Upload a model that MLflow saved in `folder`, as an output of a run, and return its id."""
    from mlflow.entities import LoggedModelOutput

    if not folder.is_dir():  # MLflow would upload nothing, and say nothing
        raise FileNotFoundError(f"{folder}: the model's files are gone")
    model = client.create_logged_model(
        experiment_id,
        name,
        source_run_id=run_id,
        tags={NOTE: description[:MAX_DESCRIPTION]},
        params={key: str(value) for key, value in params.items()},
    )
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return str(model.model_id)


def newest_model(client: Any, experiment_id: str, run_id: str) -> str | None:
    """Return the id of the model that a run logged last, or None."""
    models = client.search_logged_models(
        [experiment_id],
        filter_string=f"source_run_id = '{run_id}'",
        max_results=1,
        order_by=[{"field_name": "creation_timestamp", "ascending": False}],
    )
    return str(models[0].model_id) if models else None


def register_model(client: Any, name: str, run_id: str | None, model_id: str) -> str:
    """Give a logged model the alias `champion` under a registered name, and return the URI of that alias.

    The model becomes a new version unless it is a version of this name already.
    """
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=REGISTERED_NOTE)
    source = f"models:/{model_id}"
    versions = [version for version in client.search_model_versions(f"name = '{name}'") if version.source == source]
    if not versions:
        description = client.get_logged_model(model_id).tags.get(NOTE, "")
        versions = [client.create_model_version(name, source, run_id, description=description, model_id=model_id)]
        link_version(client, model_id, name, versions[0].version)
    client.set_registered_model_alias(name, ALIAS, versions[0].version)
    return f"models:/{name}@{ALIAS}"


def link_version(client: Any, model_id: str, name: str, version: int | str) -> None:
    """Add a version to the logged model's tag of versions, by which its page in MLflow says that it is registered.

    MLflow itself sets the tag only in `mlflow.register_model`, which knows no description.
    """
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    versions = json.loads(client.get_logged_model(model_id).tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    versions.append({"name": name, "version": version})
    client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: json.dumps(versions)})


def list_registered() -> Iterator[tuple[str, str]]:
    """Yield the URI and a summary of each registered model: of its alias `champion`, or else of its newest version.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    mlflow = import_mlflow()
    try:
        with default_store():
            models = mlflow.MlflowClient().search_registered_models()
    except Exception as error:  # MLflow raises many types of errors for stores that it cannot open
        raise TrackingError(f"the models registered in MLflow cannot be listed: {reason_of(error)}.") from error
    for model in models:
        version = model.aliases.get(ALIAS) or max((int(latest.version) for latest in model.latest_versions), default=0)
        uri = f"models:/{model.name}@{ALIAS}" if ALIAS in model.aliases else f"models:/{model.name}/{version}"
        yield uri, f"version {version}"
