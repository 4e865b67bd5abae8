"""What the locks pin: known faults, licences, and a bill of materials.

    python tools/audit.py             asks for known faults, prints licences, writes build/sbom.json
    python tools/audit.py --offline   licences and bill alone

Faults are asked by pip-audit, in an environment of its own (`build/audit`).  A licence is what the installed package
says of itself; one that says nothing is listed, and is to be looked up.
"""

import argparse
import json
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LOCKS = (ROOT / "sftrun/facts/locks/base.txt", ROOT / "sftrun/facts/locks/trl.txt", ROOT / "requirements/dev.txt")
PIP_AUDIT = "pip-audit==2.9.0"


def pinned() -> dict[str, str]:
    """Name -> version over all locks."""
    lines = (line for lock in LOCKS for line in lock.read_text().splitlines() if "==" in line and line[0] != "#")
    return dict(line.split("==", 1) for line in lines)


def licence(name: str) -> str:
    """As the installed package says; empty where it says nothing or is not installed here."""
    try:
        told: Any = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return ""
    said = told.get("License-Expression") or (told.get("License") or "").split("\n")[0][:60]
    classes = [each.rpartition(" :: ")[2] for each in told.get_all("Classifier") or () if each.startswith("License ::")]
    return said or ", ".join(classes)


def bill(packages: dict[str, str]) -> dict[str, object]:
    """CycloneDX 1.5, the least of it."""
    components = [
        {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
            "licenses": [{"license": {"name": licence(name)}}] if licence(name) else [],
        }
        for name, version in sorted(packages.items())
    ]
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components}


def faults(packages: dict[str, str]) -> int:
    """pip-audit's exit status over the pins."""
    folder = ROOT / "build" / "audit"
    if not folder.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", PIP_AUDIT], check=True)
    pins = folder / "pins.txt"
    pins.write_text("".join(f"{name}=={version}\n" for name, version in sorted(packages.items())))
    command = [str(folder / "bin" / "pip-audit"), "--requirement", str(pins), "--no-deps", "--disable-pip"]
    return subprocess.run(command, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offline", action="store_true", help="do not ask for known faults")
    offline = parser.parse_args().offline
    packages = pinned()
    for name, version in sorted(packages.items()):
        print(f"{name:32} {version:16} {licence(name) or '?'}")
    out = ROOT / "build" / "sbom.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(bill(packages), indent=1) + "\n")
    silent = sum(not licence(name) for name in packages)
    print(f"{len(packages)} packages, {silent} without a word on their licence; {out}")
    return 0 if offline else faults(packages)


if __name__ == "__main__":
    sys.exit(main())
