from __future__ import annotations

from lanrelay.config.whereabouts import located
from lanrelay.errors import StartError
from tests.config.support import ConfigCase

TEXT = """\
listeners:
  web:
    type: reverse-proxy
    listen: localhost:8080
    tls: {cert: a.pem, key: a.pem.key}
    routes:
      - {path: /a, upstream: {url: "https://a", tls: {ca: [roots, one.pem]}}}
      - path: /b
        upstream:
          url: https://b
          tls:
            cert: b.pem
  other: {type: connect-proxy, listen: "1", auth: {file: users}}
"""


class LocatedTests(ConfigCase):
    def test_file_line_column_and_the_whole_key(self) -> None:
        files = self.examine(TEXT.replace("cert: b.pem", "cert: b.pem\n            key: b.key")).named_files
        for listener, detail, expected in (
            ("web", "tls.cert: there is no file {}/a.pem", "5:17: listeners.web.tls.cert: there is no file"),
            ("web", "tls.key: {}/a.pem.key is DER", "5:29: listeners.web.tls.key: "),
            (
                "web",
                "tls.ca: certificate 1 of {}/roots/x.crt",
                "7:60: listeners.web.routes[0].upstream.tls.ca[0]: ",
            ),
            ("web", "tls.ca: {}/one.pem is DER", "7:67: listeners.web.routes[0].upstream.tls.ca[1]: "),
            (
                "web",
                "tls.key: the key {}/b.key does not",
                "13:18: listeners.web.routes[1].upstream.tls.key: the key",
            ),
            ("other", "auth.file: {}/users, line 3", "14:58: listeners.other.auth.file: "),
        ):
            error = StartError(detail.format(self.folder), listener=listener, remedy="mend it")
            said = str(located(error, files))
            self.assertTrue(said.startswith(f"{self.file}:{expected}"), said)
            self.assertTrue(said.endswith("; mend it"), said)

    def test_what_is_no_file_of_the_configuration_stays_as_it_is(self) -> None:
        files = self.examine(
            TEXT.replace("            cert: b.pem\n", "            min_version: 1.2\n")
        ).named_files
        for error in (
            StartError("127.0.0.1:80 is in use", listener="web"),
            StartError("control: another relay has it"),
            StartError("tls.ca: there is no file /elsewhere", listener="web"),
        ):
            self.assertEqual(str(located(error, files)), str(error))
