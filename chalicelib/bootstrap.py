"""What a fresh deployment needs before its first client: the administrator's account and the project `library`.

python -m chalicelib.bootstrap <name>      reads the password, or its hash, from standard input
"""

from __future__ import annotations

import sys
from contextlib import suppress

from chalicelib import job_kinds  # noqa: F401 -- what is taken up may be of any kind
from chalicelib.access import accounts, passwords
from chalicelib.access.store import user_counts
from chalicelib.access.store import users as account_table
from chalicelib.artifacts import directory_repair
from chalicelib.jobs import executions, schedules
from chalicelib.projects import rules
from chalicelib.projects.errors import AlreadyExistsError

LIBRARY = "library"
"""The public project that Harbor starts with."""


def bootstrap(admin_name: str, password_or_hash: str) -> None:
    """Make the account and the project be there, and take up the jobs that a deploy or a crash has left.

    Called after every deploy, and at each start of a laptop's: what is right already is left alone.

    `password_or_hash` is a password, or an Argon2id hash made by passwords.hash_password.
    """
    account = accounts.administrator()
    if account is None or account.username != admin_name or not _matches(password_or_hash, account):
        is_hash = passwords.is_hash(password_or_hash)
        accounts.set_administrator(
            admin_name, password_or_hash if is_hash else passwords.hash_password(password_or_hash)
        )
    directory_repair.complete()
    user_counts.complete(account_table.count_all)
    if rules.find(LIBRARY) is None:
        with suppress(AlreadyExistsError):  # another bootstrap made it meanwhile
            rules.create(LIBRARY, admin_name, public=True)
    schedules.establish_all()
    executions.reconcile_all()


def _matches(password_or_hash: str, account: accounts.Account) -> bool:
    if passwords.is_hash(password_or_hash):
        return password_or_hash == account.password_hash
    return passwords.verify_password(password_or_hash, account.password_hash)


if __name__ == "__main__":
    bootstrap(sys.argv[1], sys.stdin.readline().rstrip("\n"))
