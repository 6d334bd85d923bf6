"""Certificates for a server, made by openssl: by a private authority, expired, and for another name."""

import pathlib
import subprocess


def _openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


class Certificates:
    """`authority` is the file that a client has to trust; the others are for a server, with their keys."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        _openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
                 "-subj", "/CN=An authority", "-addext", "basicConstraints=critical,CA:TRUE")
        self.authority = self.folder / "ca.pem"
        self.good = self._make("good", "DNS:localhost,IP:127.0.0.1", "-days", "2")
        self.of_another_name = self._make("other", "DNS:example.org", "-days", "2")
        self.expired = self._make("expired", "DNS:localhost", "-days", "-1")

    def _make(self, name, names, *validity):
        _openssl(self.folder, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                 "-subj", "/CN=localhost")
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        if validity[1] == "-1":
            validity = ("-not_before", "20200101000000Z", "-not_after", "20200201000000Z")
        try:
            self._sign(name, *validity)
        except subprocess.CalledProcessError:
            # openssl before 3.4 has no dates there, but takes a negative number of days.
            self._sign(name, "-days", "-1")
        both = self.folder / f"{name}.both.pem"
        both.write_text((self.folder / f"{name}.pem").read_text() + (self.folder / f"{name}.key").read_text())
        return both

    def _sign(self, name, *validity):
        _openssl(self.folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                 "-out", f"{name}.pem", "-extfile", f"{name}.ext", *validity)
