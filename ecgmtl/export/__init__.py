"""From a trained classifier to a file or folder for programs that do not use ecgmtl."""
