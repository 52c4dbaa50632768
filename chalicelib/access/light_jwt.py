"""PyJWT as a pull needs it: for shared keys only, without the package `cryptography`.

PyJWT imports that one when it is there, and does without when it is not. It is there for logins by OpenID Connect
(oidc.py, by joserfc), and would triple the 30 ms that PyJWT takes of every cold start. So it is out of sight for as
long as PyJWT is being imported.
"""

from __future__ import annotations

import sys

_NAME = "cryptography"

if _NAME in sys.modules:
    import jwt
else:
    sys.modules[_NAME] = None  # type: ignore[assignment]  # Python's way to say that there is no such module
    try:
        import jwt
    finally:
        del sys.modules[_NAME]

__all__ = ["jwt"]
