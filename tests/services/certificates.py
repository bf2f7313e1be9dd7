"""Short-lived certificates for the secured broker: an authority and a server certificate for loopback."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_TO_SIGN_CERTIFICATES = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True, slots=True)
class Certificates:
    """`authority`: what clients trust. `server`: key (PKCS#8) and certificate in one file, as Kafka wants them."""

    authority: Path
    server: Path


def issue_certificates(folder: Path) -> Certificates:
    """Write a fresh authority and a server certificate for 127.0.0.1 and localhost, valid for a day."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _named("tests of referral-stream")
    authority = (
        _unsigned(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_TO_SIGN_CERTIFICATES, critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    # From Python 3.13 on a client by default refuses certificates that break RFC 5280 by leaving these extensions out.
    signed_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    server_key = ec.generate_private_key(ec.SECP256R1())
    reached_as = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    server = (
        _unsigned(_named("localhost"), authority_name, server_key.public_key())
        .add_extension(reached_as, critical=False)
        .add_extension(signed_by, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    files = Certificates(authority=folder / "authority.pem", server=folder / "server.pem")
    files.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    private = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files.server.touch(mode=0o600)
    files.server.write_bytes(private + server.public_bytes(serialization.Encoding.PEM))
    return files


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _unsigned(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
