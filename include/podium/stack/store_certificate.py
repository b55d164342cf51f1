"""What closes the object store's inner ports: one certificate, which its parts show each other.

They talk over loopback, where every user of the machine can knock. Each port but that of S3 asks for this
certificate and trusts no other: it is signed by its own key, and there is no authority that signs others.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

from podium.operations.private_files import write_private

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

# Where SeaweedFS looks first is the folder that it runs in; what is found there hides files in HOME and /etc.
SETTINGS_FILE = "security.toml"
CERTIFICATE_FILE = "store.pem"
_GRPC = ("master", "volume", "filer", "s3", "admin", "worker", "msg_broker", "msg_agent", "mq", "client")
_HTTPS = ("master", "volume", "filer", "admin", "client")
_LIFETIME = timedelta(days=3650)
# A store may run for long before it is started again.
_RENEWED_BEFORE_END = timedelta(days=730)


def prepare(run: Path, now: datetime | None = None) -> None:
    """Write the store's certificate with its key, if there is no good one, and SeaweedFS's security settings.

    Args:
        run: the folder that the store runs in; both files are its owner's alone.
        now: the time of the start, with a time zone; default the present.
    """
    now = now or datetime.now(UTC)
    certificate = run / CERTIFICATE_FILE
    if not _is_good(certificate, now):
        write_private(certificate, _make(now))
    write_private(run / SETTINGS_FILE, _settings())


def read(run: Path) -> Certificate:
    """Return the store's certificate."""
    from cryptography.x509 import load_pem_x509_certificate

    return load_pem_x509_certificate((run / CERTIFICATE_FILE).read_bytes())


def _settings() -> str:
    files = [f'cert = "{CERTIFICATE_FILE}"', f'key = "{CERTIFICATE_FILE}"']
    authority = f'ca = "{CERTIFICATE_FILE}"'
    lines = ["[grpc]", authority]
    for part in _GRPC:
        lines += [f"[grpc.{part}]", *files]
    for part in _HTTPS:
        lines += [f"[https.{part}]", *files, authority]
    return "\n".join([*lines, "enabled = true", ""])  # of the last section, https.client


def _is_good(file: Path, now: datetime) -> bool:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
        certificate = read(file.parent)
    except (FileNotFoundError, TypeError, ValueError):  # none, or damaged
        return False
    unread = file.stat().st_mode & 0o077 == 0
    lasts = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc - _RENEWED_BEFORE_END
    return unread and lasts and key.public_key() == certificate.public_key()


def _make(now: datetime) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "podium object store")])
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (key.private_bytes(pem, *plain) + certificate.public_bytes(pem)).decode()
