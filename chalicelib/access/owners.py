"""Whether whoever a grant was given to may still do what it says.

Tokens are checked by their signatures alone. Before something is written by one, its owner is looked at as well, as
accounts and roles were at most half a minute ago: a grant ends with the account, its password, its robot or its role.
Pulls go by the token, which lives for minutes.
"""

from __future__ import annotations

from chalicelib.access import accounts
from chalicelib.access.authentication import caller_of
from chalicelib.access.authorization import permitted


def may_still(username: str, stamp: str, action: str, repository: str) -> bool:
    """Whether the account may do `action` on `repository`, and has the password that it had then.

    `stamp` is what accounts.Account.stamp was; it is empty for a grant that names none.
    """
    account = accounts.find(username)
    if account is None or stamp not in ("", account.stamp):
        return False
    return action in permitted(caller_of(account), repository)
