"""The demo's own authority, and the certificates that its services show."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM


def _name(common_name):
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Demo Shop"),
                      x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


class Authority:
    """An authority of its own, whose files are in `directory`."""

    def __init__(self, directory):
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name("Demo CA")
        self.file = directory / "ca.crt"
        certificate = (
            self._builder(self.name, self.key, days=3650, left=3600)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.file.write_bytes(certificate.public_bytes(PEM))

    def _builder(self, subject, key, days, left):
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=left)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - datetime.timedelta(days=days))
            .not_valid_after(end)
        )

    def issue(self, file, *names, days=100, left=80, spiffe_id=None):
        """A key and a certificate, valid for `days`, of which so many are `left`; returns both files."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = [x509.DNSName(name) for name in names]
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        if spiffe_id:
            alternatives, usage = [x509.UniformResourceIdentifier(spiffe_id)], ExtendedKeyUsageOID.CLIENT_AUTH
        else:
            alternatives.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        certificate = (
            self._builder(_name(names[0]), key, days, left)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        paths = self.directory / f"{file}.crt", self.directory / f"{file}.key"
        paths[0].write_bytes(certificate.public_bytes(PEM))
        paths[1].write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return paths
