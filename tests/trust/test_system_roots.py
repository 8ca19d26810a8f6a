"""Where distributions keep their roots."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.trust.system_roots import BUNDLES, bundle, folder


class PlacesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.top = Path(self.mktemp())
        self.top.mkdir(parents=True)

    def put(self, name: str) -> Path:
        path = self.top / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        return path

    def test_each_distribution(self) -> None:
        for name, files in (
            ("debian", ["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/4a6481c9.0"]),
            (
                "fedora",
                ["/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/pki/tls/certs/ca-bundle.crt"],
            ),
            ("alpine", ["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem"]),
            ("alpine without ca-certificates", ["/etc/ssl/cert.pem"]),
            (
                "arch",
                ["/etc/ssl/certs/ca-certificates.crt", "/etc/ca-certificates/extracted/tls-ca-bundle.pem"],
            ),
            ("suse", ["/var/lib/ca-certificates/ca-bundle.pem", "/etc/ssl/ca-bundle.pem"]),
        ):
            self.setUp()
            first, *_ = [self.put(file) for file in files]
            self.assertEqual(bundle({}, top=str(self.top)), first, name)

    def test_every_known_place_is_found(self) -> None:
        for place in BUNDLES:
            self.setUp()
            self.assertEqual(bundle({}, top=str(self.top)), None)
            self.assertEqual(self.put(place), bundle({}, top=str(self.top)))

    def test_a_folder_of_hashed_links_counts_if_there_is_anything_in_it(self) -> None:
        (self.top / "etc/ssl/certs").mkdir(parents=True)
        self.assertEqual(folder({}, top=str(self.top)), None)
        self.put("/etc/ssl/certs/4a6481c9.0")
        self.assertEqual(folder({}, top=str(self.top)), self.top / "etc/ssl/certs")

    def test_the_environment_goes_before_all(self) -> None:
        self.put(BUNDLES[0])
        own = self.put("/own.pem")
        for environ, file, directory in (
            ({"SSL_CERT_FILE": str(own)}, own, None),
            ({"SSL_CERT_FILE": str(self.top / "none")}, None, None),
            ({"SSL_CERT_FILE": ""}, None, None),
            ({"SSL_CERT_DIR": f"{self.top}/none:{self.top}"}, None, self.top),
        ):
            self.assertEqual(bundle(environ, top=str(self.top)), file)
            self.assertEqual(folder(environ, top=str(self.top)), directory)
