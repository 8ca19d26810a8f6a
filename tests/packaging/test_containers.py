"""The container image and the examples with it: judged by linters, and run as far as goes without Docker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lanrelay.config.load import load
from tests.packaging.image import built, instructions, lacking
from tests.process.support import poll
from tests.support.networks import Namespace, cable, namespaces
from tests.support.progress import PATIENCE

CHECKOUT = Path(__file__).parents[2]
PACKAGING = CHECKOUT / "packaging"
DOCKERFILE = PACKAGING / "docker" / "Dockerfile"

USER = 10001


def last(word: str) -> str:
    return [one.rest for one in instructions(DOCKERFILE) if one.word == word][-1]


class DockerfileTests(SynchronousTestCase):
    def test_hadolint_finds_nothing(self) -> None:
        hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        if hadolint is None:
            raise SkipTest("hadolint is not here")
        done = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_it_builds(self) -> None:
        docker = shutil.which("docker")
        if (
            docker is None
            or subprocess.run([docker, "info"], capture_output=True, timeout=PATIENCE).returncode
        ):
            raise SkipTest("no daemon of Docker's runs")
        command = [docker, "build", "--quiet", "--file", str(DOCKERFILE), str(CHECKOUT)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_what_it_copies_is_there(self) -> None:
        copied = [
            one.rest for one in instructions(DOCKERFILE) if one.word == "COPY" and "--from" not in one.rest
        ]
        for words in copied:
            *sources, _ = words.split()
            for source in sources:
                self.assertTrue((CHECKOUT / source).exists(), source)

    def test_it_does_not_run_as_root(self) -> None:
        self.assertEqual(last("USER"), f"{USER}:{USER}")
        self.assertIn(f"--uid {USER}", last("RUN"))

    def test_the_ports_are_those_of_its_configuration(self) -> None:
        config = load(PACKAGING / "docker" / "relay.yaml")
        assert config.admin is not None
        addresses = [*config.admin.listen, *(one for each in config.listeners for one in each.listen)]
        self.assertEqual(
            {str(address).rpartition(":")[2] for address in addresses}, set(last("EXPOSE").split())
        )
        # A published port comes from outside of the container's loopback.
        self.assertEqual({str(address).rpartition(":")[0] for address in addresses}, {"0.0.0.0"})


class RunTests(SynchronousTestCase):
    """
    What the image would be and run, by the same steps: in roots and in a network of their own, as its user.
    """

    def setUp(self) -> None:
        self.container, self.outside = namespaces(self, "container", "outside")  # type: ignore[arg-type]
        absent = [*lacking(), *(() if shutil.which("curl") else ("curl",))]
        if absent:
            raise SkipTest(f"{absent[0]} is not here")
        cable(self.outside, self.container, "docker", "172.30.0")
        self.folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o755)
        self.image = built(DOCKERFILE, CHECKOUT, self.folder)

    def within(self, words: str) -> list[str]:
        """A command of the image's, in its exec form."""
        return [*self.container.within, *self.image.within(*json.loads(words))]

    def healthy(self) -> bool:
        check = last("HEALTHCHECK").partition(" CMD ")[2]
        done = subprocess.run(
            self.within(check), env=self.image.environ, capture_output=True, text=True, timeout=PATIENCE
        )
        self.assertNotIn("Traceback", done.stderr)
        return done.returncode == 0

    def test_it_serves_is_healthy_and_ends(self) -> None:
        self.assertFalse(self.healthy())
        command = json.loads(last("ENTRYPOINT")) + json.loads(last("CMD"))
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(
                self.within(json.dumps(command)),
                env=self.image.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        poll(lambda: "ready in" in (self.folder / "log").read_text(), "the relay")
        status = Path(f"/proc/{process.pid}/status").read_text()
        self.assertRegex(status, rf"(?m)^Uid:\s+{USER}\s")
        self.assertRegex(status, r"(?m)^CapEff:\s+0+$")
        self.assertEqual(os.readlink(f"/proc/{process.pid}/root"), str(self.image.root))
        self.assertTrue(self.healthy())
        # As a port that is published, and as another container by the relay's name.
        for name in ("localhost", "lanrelay"):
            self.assertIn('"ok"', self.fetched(self.outside, name))
        process.send_signal(getattr(signal, last("STOPSIGNAL")))
        self.assertEqual(process.wait(PATIENCE), 0)
        # It has written to /tmp alone: nothing else belongs to its user.
        own = [path for path in self.image.root.rglob("*") if path.lstat().st_uid == USER]
        self.assertEqual([path for path in own if not path.is_relative_to(self.image.root / "tmp")], [])

    def fetched(self, place: Namespace, name: str) -> str:
        url = f"http://{name}:28081/healthz"
        done = place.run("curl", "-sS", "--resolve", f"{name}:28081:172.30.0.2", url)
        return (done.stdout + done.stderr).decode()


class ComposeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = PACKAGING / "docker" / "compose.yaml"
        self.services: dict[str, Any] = yaml.safe_load(self.file.read_text())["services"]
        self.relay = self.services["lanrelay"]

    def test_what_it_builds_and_mounts_is_there(self) -> None:
        context = self.file.parent / self.relay["build"]["context"]
        self.assertEqual((context / self.relay["build"]["dockerfile"]).resolve(), DOCKERFILE)
        (volume,) = self.relay["volumes"]
        source, target, mode = volume.split(":")
        self.assertEqual((target, mode), ("/etc/lanrelay", "ro"))
        self.assertTrue((self.file.parent / source / "relay.yaml").is_file())

    def test_it_publishes_on_loopback_only(self) -> None:
        exposed = set(last("EXPOSE").split())
        for port in self.relay["ports"]:
            address, outer, inner = port.split(":")
            self.assertEqual((address, outer), ("127.0.0.1", inner))
            self.assertIn(inner, exposed)

    def test_it_may_do_nothing_but_relay(self) -> None:
        self.assertEqual(self.relay["cap_drop"], ["ALL"])
        self.assertTrue(self.relay["read_only"])
        self.assertEqual(self.relay["tmpfs"], ["/tmp"])

    def test_compose_itself_takes_it(self) -> None:
        docker = shutil.which("docker")
        if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
            raise SkipTest("docker has no compose")
        command = [docker, "compose", "--file", str(self.file), "config", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


class KubernetesTests(SynchronousTestCase):
    def setUp(self) -> None:
        text = (PACKAGING / "kubernetes" / "lanrelay.yaml").read_text()
        self.documents: list[dict[str, Any]] = list(yaml.safe_load_all(text))
        self.configuration, self.deployment, self.service, self.page = self.documents
        (self.container,) = self.deployment["spec"]["template"]["spec"]["containers"]

    def test_each_document_fits_the_schema_of_kubernetes(self) -> None:
        self.assertEqual(
            [one["kind"] for one in self.documents], ["ConfigMap", "Deployment", "Service", "Service"]
        )
        for document in self.documents:
            kubernetes_validate.validate(document, "1.33", strict=True)

    def test_the_schema_would_find_a_mistake(self) -> None:
        self.container["readinessProb"] = self.container.pop("readinessProbe")
        self.assertRaises(
            kubernetes_validate.ValidationError,
            kubernetes_validate.validate,
            self.deployment,
            "1.33",
            strict=True,
        )

    def config(self) -> Any:
        folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, folder)
        (folder / "relay.yaml").write_text(self.configuration["data"]["relay.yaml"])
        return load(folder / "relay.yaml")

    def test_its_configuration_is_right_and_has_the_ports_that_are_named(self) -> None:
        config = self.config()
        (listener,) = config.listeners
        ports = {one["name"]: one["containerPort"] for one in self.container["ports"]}
        self.assertEqual(
            {"http": listener.listen[0].port, "admin": config.admin.listen[0].port},
            ports,
        )
        self.assertTrue(listener.accept_proxy)
        for service in (self.service, self.page):
            for port in service["spec"]["ports"]:
                self.assertIn(port["targetPort"], ports)

    def test_the_probes_ask_what_there_is(self) -> None:
        paths = {
            name: self.container[name]["httpGet"]["path"] for name in ("livenessProbe", "readinessProbe")
        }
        self.assertEqual(paths, {"livenessProbe": "/healthz", "readinessProbe": "/readyz"})

    def test_labels_and_mounts_fit_each_other(self) -> None:
        template = self.deployment["spec"]["template"]
        labels = template["metadata"]["labels"]
        self.assertEqual(self.deployment["spec"]["selector"]["matchLabels"], labels)
        self.assertEqual(self.service["spec"]["selector"], labels)
        volumes = {one["name"] for one in template["spec"]["volumes"]}
        self.assertEqual({one["name"] for one in self.container["volumeMounts"]}, volumes)
        self.assertEqual(
            template["spec"]["volumes"][0]["configMap"]["name"], self.configuration["metadata"]["name"]
        )
        # It has the time that the relay takes to end.
        (listener,) = self.config().listeners
        pause = self.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        self.assertGreater(template["spec"]["terminationGracePeriodSeconds"], listener.timeouts.drain + pause)
