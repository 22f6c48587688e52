"""``bank``: transfers between accounts never change what all accounts hold together.

An ok ``read`` is a map from account to balance.  Each must show every account, sum up to the total and,
if asked for, no negative balance.  Anomalies: ``wrong-total``, ``negative-balance``,
``wrong-accounts``.  Where the level lets updates be lost, a wrong total is lawful: counted in
``stats.lawful`` and never an anomaly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.found import acknowledged, anomaly, result
from splitbrain.checkers.linearizable.classify import when
from splitbrain.checkers.verdict import Anomaly, Result
from splitbrain.history.history import History
from splitbrain.history.op import Op

__all__ = ["BankChecker"]


class BankChecker:
    """Judges reads of all accounts.

    Args:
        accounts: how many there are, numbered from 0.
        opening: what each holds at first.
        negative: whether a balance may be negative.
        lawful: whether the level lets updates be lost, and so totals change.
    """

    def __init__(
        self, accounts: int, opening: int, *, negative: bool = False, lawful: bool = False
    ) -> None:
        self.accounts, self.total = accounts, accounts * opening
        self.negative, self.lawful = negative, lawful

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Sum up every read."""
        reads = [end for _, end in acknowledged(history, "read")]
        found = [bad for end in reads for bad in self._problems(end)]
        wrong = sum(bad.kind == "wrong-total" for bad in found)
        if self.lawful:
            found = [bad for bad in found if bad.kind == "wrong-accounts"]
        stats = {
            "reads": len(reads),
            "total": self.total,
            "wrong_totals": wrong,
            "lawful": {"lost-update": wrong} if self.lawful and wrong else {},
        }
        summary = f"{len(reads)} reads of {self.accounts} accounts, each of {self.total}"
        if self.lawful and wrong:
            summary = (
                f"{wrong} of {len(reads)} reads have another total than {self.total}: updates "
                "were lost, which the level allows"
            )
        return result("bank", found, stats, summary)

    def _problems(self, end: Op) -> Iterator[Anomaly]:
        who = f"process {end.process} at {when(end)}"
        balances = {str(name): held for name, held in (end.value or {}).items()}
        if balances.keys() != {str(number) for number in range(self.accounts)}:
            text = f"{who} read the accounts {', '.join(balances) or 'none'}"
            yield anomaly("wrong-accounts", text, end)
            return
        total = sum(balances.values())
        if total != self.total:
            text = f"{who} read balances of {total} together, not {self.total}"
            yield anomaly("wrong-total", text, end)
        poor = {name: held for name, held in balances.items() if held < 0}
        if poor and not self.negative:
            name = min(poor)
            yield anomaly(
                "negative-balance", f"{who} read {poor[name]} on account {name}", end, key=name
            )
