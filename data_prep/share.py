"""Share of numbered work that one of several jobs does."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """Every `n_shares`-th piece of work, from number `index` - 1 on."""

    index: int = 1
    n_shares: int = 1

    @classmethod
    def parse(cls, text: str) -> "Share":
        """Read a share as `2/3`.

        Raises:
            ValueError: it is not such a share.
        """
        index, _, n_shares = text.partition("/")
        if not (index.isdecimal() and n_shares.isdecimal() and 1 <= int(index) <= int(n_shares)):
            raise ValueError(f"'{text}' is not a share of the parts; it must be I/N, from 1/N to N/N.")
        return cls(int(index), int(n_shares))

    def __contains__(self, number: int) -> bool:
        return number % self.n_shares == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}/{self.n_shares}"

    @property
    def lock(self) -> str:
        """Name of the lock that the job holds in a folder that several jobs write."""
        return f".lock-{self.index}-of-{self.n_shares}"
