"""Runs that MLflow holds, and what it holds of them."""

NOTHING = {"tags": {}, "params": {}}


def runs(client):
    experiment = client.get_experiment_by_name("ecgmtl")
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def history(client, name, metric):
    return [(m.step, m.value) for m in client.get_metric_history(runs(client)[name].info.run_id, metric)]


def log_classifier(tracker, model, **resumed):
    with tracker.run("quick", **NOTHING, **resumed) as run_id:
        tracker.log_input("ptbxl", "ab" * 32, "data/ptbxl", {"train": 8, "validation": 1})
        tracker.log_model(
            model, "classifier", "It predicts **labels**.", {"labels": "NORM, MI", "sampling_rate_hz": 100}
        )
        tracker.log_final({"final validation macro_auroc": 0.9, "final validation mcc": float("nan")})
    return run_id


def logged_model(store, run_id):
    (output,) = store.get_run(run_id).outputs.model_outputs
    return store.get_logged_model(output.model_id)
