"""Arms side by side from the same seeds: what is run, what each run leaves behind, what the report says of them."""
