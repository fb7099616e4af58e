"""Numbers in words, for messages."""


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: `1 record`, `2,000 records`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
