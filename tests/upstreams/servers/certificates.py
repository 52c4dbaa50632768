"""A key and a self-signed certificate of it, for TLS on this machine and for signing tokens."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificate:
    """The files of both as PEM, the key for PyJWT, and the certificate as an `x5c` header has it."""

    file: Path
    key_file: Path
    key: rsa.RSAPrivateKey
    x5c: str


def make_certificate(folder: Path, *addresses: str) -> Certificate:
    """A certificate of `localhost` and these addresses, good for a day."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    serial = x509.random_serial_number()
    # A name of its own: whoever trusts several looks for the one that signed by its name.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"berth-tests {serial:x}")])
    names = [x509.DNSName("localhost"), *(x509.IPAddress(ip_address(each)) for each in addresses)]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), serial)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    file, key_file = folder / "certificate.pem", folder / "key.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    return Certificate(file, key_file, key, base64.b64encode(der).decode())
