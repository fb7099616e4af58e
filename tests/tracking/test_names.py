from ecgmtl.tracking import names


def test_mlflow_shows_losses_and_weights_first_then_diagnostics_then_final_figures():
    steps = ["gradient.conflict_null.latent", "log_var.latent", "gradient_norm", "weight.latent", "lr", "loss.latent"]
    figures = [names.final("validation", names.MACRO_AUROC), names.validation(names.MACRO_AUROC)]
    groups = {name: name.rpartition("/")[0] for name in [*map(names.train, steps), *figures]}
    shown = sorted(groups, key=lambda name: (not groups[name], groups[name], name))  # as MLflow orders its charts
    assert shown == [
        "train/loss.latent",
        "train/lr",
        "train/weight.latent",
        "train gradients/conflict_null.latent",
        "train gradients/norm",
        "train weighting/log_var.latent",
        "validation/macro_auroc",
        "final validation macro_auroc",
    ]
