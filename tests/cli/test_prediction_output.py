"""`ecgmtl predict` explains what it prints on the screen."""

from typer.testing import CliRunner

from ecgmtl.cli import app


def test_predictions_on_the_screen_are_preceded_by_what_their_numbers_mean(records, tmp_path):
    (tmp_path / "a.edf").touch()
    done = CliRunner().invoke(app, ["predict", str(tmp_path / "a.edf"), str(records)])
    assert done.exit_code == 3
    told = done.stderr.splitlines()
    at = next(number for number, line in enumerate(told) if line.startswith("calibrated probability of each label"))
    assert told[at + 1].startswith("labels: CD conduction disturbance, HYP hypertrophy, ")
    assert done.stderr.count("probability") == 1
    assert len(done.stdout.splitlines()) == 6  # the records


def test_where_nothing_is_predicted_nothing_is_explained(tmp_path):
    (tmp_path / "a.edf").touch()
    assert "probability" not in CliRunner().invoke(app, ["predict", str(tmp_path / "a.edf")]).stderr
