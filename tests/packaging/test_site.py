"""The documentation as a site, built by the real MkDocs without a warning."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

CHECKOUT = Path(__file__).parents[2]
CONFIGURATION = CHECKOUT / "packaging" / "site" / "mkdocs.yml"

LOADED = re.compile(
    r"""<(?:script|img|iframe)[^>]*\ssrc="([^"]+)"|<link[^>]*rel="stylesheet"[^>]*href="([^"]+)"""
)


class SiteTests(SynchronousTestCase):
    def test_it_builds_and_every_link_leads_somewhere(self) -> None:
        site = Path(tempfile.mkdtemp(prefix="lanrelay-site-"))
        self.addCleanup(shutil.rmtree, site)
        done = subprocess.run(
            [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(CONFIGURATION), "-d", str(site)],
            env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        for page in (CHECKOUT / "docs").glob("*.md"):
            self.assertTrue((site / f"{page.stem}.html").is_file(), page.name)
        # What lies beside docs/ has come along, byte for byte.
        for name in ("conf/relay.yaml", "packaging/docker/Dockerfile"):
            self.assertEqual((site / "beside" / name).read_bytes(), (CHECKOUT / name).read_bytes())
        index = (site / "index.html").read_text()
        self.assertIn('src="pictures/page.png"', index)
        for one in LOADED.finditer(index):
            self.assertFalse((one[1] or one[2]).startswith(("http:", "https:", "//")), one[0])
