"""doctor --bundle: a support archive without secrets."""

from __future__ import annotations

import json
import stat
import tarfile
from pathlib import Path

from conftest import Gears
from processes import wait_until
from records import private, record

SECRETS = {
    "log": "https://h/lab?token=PlantedInALog",
    "header": "Authorization: token PlantedInAHeader",
    "cookie": "Set-Cookie: session=PlantedInACookie; path=/",
    "password": "password: PlantedPassword",
    "passcode": "Enter PASSCODE: Planted123456",
}


KEY = """-----BEGIN OPENSSH PRIVATE KEY-----
PlantedKeyMaterialPlantedKeyMaterial
-----END OPENSSH PRIVATE KEY-----"""


def plant_hops(gears: Gears) -> None:
    """Records as hubs write them, and, where none should ever be, secrets."""
    state = gears.home / "state"
    private(state, state / "hub2.olcf", state / "@cluster")
    record(
        state / "hub2.olcf/hop/andes.rec",
        cluster="andes",
        human=1,
        message="Password: PlantedInARecord",
    )
    record(
        state / "hub2.olcf/hop/andes.end",
        text="andes.olcf: the server said: PASSCODE: PlantedInAnEnd",
        cause=6,
    )
    record(state / "@cluster/andes.rec", cluster="andes", host="login1.andes", at=1)
    secrets = state / "hub2.olcf/secret"
    secrets.mkdir(mode=0o700)
    for i in range(100):
        (secrets / f"lab{i}").write_text(f"OtherHostsSecret{i:03}\n")


def bundle_folders() -> set[Path]:
    return set(Path("/tmp").glob("gears-bundle-*"))


def test_the_bundle_holds_no_secret(gears: Gears) -> None:
    conf = gears.home / "etc/gears.conf"
    plant_hops(gears)
    lines = "".join(f"echo '{line}'; " for line in [KEY, *SECRETS.values()])
    lines += "echo key file /u/me/.ssh/id_ed25519; echo OtherHostsSecret099; "
    (gears.home / "talk.sh").write_text(lines + "exec sleep 1000\n")
    conf.write_text(
        conf.read_text()
        + "[service:talk]\nkind = command\n"
        + f"command = sh {gears.home}/talk.sh\nready = log:PASSCODE\n"
        + "environment = HUB_API_TOKEN=PlantedInTheConfiguration\n"
    )
    gears.run("start", "lab")
    gears.run("start", "talk")
    token = json.loads(gears.run("url", "lab", "--json").stdout)["token"]
    known = [path.read_text() for path in gears.home.glob("state/*/secret/*")]
    gears.run("run", "leak", "--", "sh", "-c", f"echo say {token} aloud; exec sleep 1000")
    wait_until(lambda: token in gears.run("logs", "leak").stdout, "the leak")
    bundle = gears.home / "support.tar.gz"
    before_it = bundle_folders()
    gears.run("doctor", "--bundle", str(bundle))
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o600
    with tarfile.open(bundle) as archive:
        texts = {
            member.name.removeprefix("./"): archive.extractfile(member).read().decode()  # type: ignore[union-attr]
            for member in archive.getmembers()
            if member.isfile()
        }
    wanted = {"version.json", "status.json", "doctor.json", "events.json", "gears.conf"}
    wanted |= {"hops.txt", "log-talk.txt", "log-lab.txt", "log-gearsd.txt", "config-effective.json"}
    assert wanted <= set(texts)
    whole = "\n".join(texts.values())
    assert token not in whole
    assert "Planted" not in whole
    assert "OtherHostsSecret" not in whole
    assert "key file /u/me/.ssh/id_ed25519" in texts["log-talk.txt"]
    assert "--- state/hub2.olcf/hop/andes.rec\n" in texts["hops.txt"]
    assert "host=login1.andes\n" in texts["hops.txt"]
    assert not [secret for secret in known if secret.strip() in whole]
    assert "say [redacted] aloud" in texts["log-leak.txt"]
    assert str(gears.home) in whole, "paths stay"
    assert json.loads(texts["status.json"])["schema"] == 1
    found = json.loads(texts["doctor.json"])["findings"]
    assert [f for f in found if f["check"] != "short-folders"] == [], "the rest is of this home"
    before = bundle.read_bytes()
    again = gears.run("doctor", "--bundle", str(bundle), check=False)
    assert again.returncode == 1
    assert "it is there already; choose another name" in again.stderr
    assert bundle.read_bytes() == before
    wait_until(lambda: not bundle_folders() - before_it, "the end of its folder")


def test_a_bundle_where_none_can_be(gears: Gears) -> None:
    result = gears.run("doctor", "--bundle", "/proc/nothing.tar.gz", check=False)
    assert result.returncode == 1
    assert "gearsctl: /proc/nothing.tar.gz: " in result.stderr
    assert gears.run("doctor", "--bundle", check=False).returncode == 2
