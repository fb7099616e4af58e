"""Errors that a user can correct. The command line shows only their message. Any other error is a bug and keeps its
traceback. Each class is defined beside the code that raises it:

    UserError
    ├── FolderInUseError       data_prep.lock
    ├── ConvertError           data_prep.convert
    ├── PlaceError             data_prep.places
    ├── RecordError            data_prep.record
    │   └── QualityError       data_prep.quality.finding
    ├── SourceError            data_prep.sources.tables
    ├── DownloadError          data_prep.sources.download
    │   └── FinalAnswerError   data_prep.sources.download
    ├── StoreError             data_prep.store.manifest
    ├── MissingExtraError      data_prep.extras
    ├── TrackingError          ecgmtl.tracking.store
    ├── UiError                ecgmtl.tracking.ui
    ├── ReportError            ecgmtl.report_page.page
    ├── ServeError             ecgmtl.serve.server
    ├── StrictYamlError        ecgmtl.config.parse
    ├── ConfigError            ecgmtl.config.parse
    ├── CheckpointError        ecgmtl.checkpoint
    ├── MetadataError          ecgmtl.inference.metadata
    ├── ModelNameError         ecgmtl.inference.models
    ├── PredictorError         ecgmtl.inference.predictor
    ├── PredictionsFileError   ecgmtl.inference.table
    ├── ReconstructError       ecgmtl.inference.reconstruct
    ├── ExportError            ecgmtl.export.format
    ├── ProtocolError          ecgmtl.evaluation.protocols
    ├── EvaluationError        ecgmtl.evaluation.evaluate
    ├── StressError            ecgmtl.evaluation.stress
    ├── TrainingError          ecgmtl.training.errors
    │   └── BatchTooLargeError ecgmtl.training.errors
    └── ComparisonError        ecgmtl.comparison.truth

A full disk, and a folder that is removed meanwhile, are OSErrors wherever they occur; `ecgmtl.cli.terminal` writes
their messages.
"""


class UserError(Exception):
    """An error that the user can correct. Its message names the thing, what was found, and how to fix it."""
