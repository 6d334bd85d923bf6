"""TLS: which servers lambda_fetch trusts, and what it says of the others."""

import os
import subprocess
import tempfile
import unittest

from certificates import Certificates
from server import Server

COMMAND = [os.environ["TOOLS_PROGRAM"], "run", "fetch"]


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.certificates = Certificates(cls.folder.name)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def fetch(self, certificate, *arguments, **environment):
        server = Server(certificate)
        try:
            return subprocess.run([*COMMAND, *arguments, f"{server.url}/echo"], capture_output=True, text=True, timeout=60,
                                  env={**os.environ, "SSL_CERT_FILE": "", **environment})
        finally:
            server.stop()

    def assert_refused(self, done, reason):
        self.assertEqual(done.returncode, 60, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertIn(reason, done.stderr)


class Tls(Case):
    def a_private_authority_is_trusted_where_it_is_named(self):
        authority = str(self.certificates.authority)
        for arguments, environment in (
            (["--cacert", authority], {}),
            ([], {"SSL_CERT_FILE": authority}),
            ([], {"AWS_CA_BUNDLE": authority}),
            (["--insecure"], {}),
        ):
            done = self.fetch(self.certificates.good, *arguments, **environment)
            with self.subTest(arguments=arguments, environment=environment):
                self.assertEqual((done.returncode, done.stdout), (0, "GET /echo\n\n"), done.stderr)

    def an_unknown_authority_is_refused(self):
        self.assert_refused(self.fetch(self.certificates.good), "UnknownIssuer")

    def a_certificate_that_has_expired_is_refused(self):
        done = self.fetch(self.certificates.expired, "--cacert", str(self.certificates.authority))
        self.assert_refused(done, "Expired")

    def a_certificate_for_another_name_is_refused(self):
        done = self.fetch(self.certificates.of_another_name, "--cacert", str(self.certificates.authority))
        self.assert_refused(done, "not valid for name")

    def a_file_of_authorities_that_is_missing_is_named(self):
        done = self.fetch(self.certificates.good, "--cacert", "missing.pem")
        self.assertEqual(done.returncode, 77, done.stderr)
        self.assertIn("missing.pem", done.stderr)

    def a_file_without_authorities_is_refused(self):
        done = self.fetch(self.certificates.good, "--cacert", "/dev/null")
        self.assertEqual(done.returncode, 77, done.stderr)
        self.assertIn("certificate", done.stderr.lower())

    def a_server_without_tls_has_a_status_of_its_own(self):
        server = Server()
        try:
            done = subprocess.run([*COMMAND, server.url.replace("http://", "https://")], capture_output=True, text=True, timeout=60)
        finally:
            server.stop()
        self.assertEqual(done.returncode, 35, done.stderr)
