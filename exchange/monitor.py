"""`make monitor`: a real Prometheus, and Grafana where there is one, over the exchange that runs here."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from exchange.settings import from_process
from exchange.supervisor import data_dir_of

CONFIG: Final = Path(__file__).resolve().parent.parent / "config"
LISTEN: Final = "127.0.0.1:9090"
_GRAFANA: Final = "127.0.0.1:3000"
_KEPT: Final = "15d"
_NONE: Final = (
    "prometheus is not installed. Debian and Ubuntu: apt-get install prometheus (and, since its service\n"
    "takes port 9090: systemctl disable --now prometheus). Elsewhere: https://prometheus.io/download/\n"
    "Without it: config/prometheus has everything for one that runs on another machine.\n"
)


def prometheus(
    folder: Path, office: str, *, listen: str = LISTEN, every_s: int = 5
) -> list[str] | None:
    """The command that runs it over this office; its files are written into the folder. None: it is
    not installed."""
    found = shutil.which("prometheus")
    if found is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(configuration(office, every_s), encoding="utf-8")
    return [
        found,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--storage.tsdb.retention.time={_KEPT}",
        f"--web.listen-address={listen}",
        "--log.level=warn",
    ]


def configuration(office: str, every_s: int) -> str:
    """The shipped one, for an office elsewhere and as often as that."""
    text = (CONFIG / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    text = re.sub(r'(- targets: )\["[^"]*"\]', rf'\1["{office}"]', text)
    text = re.sub(r"(- )(\w+\.yml)$", rf"\1{CONFIG / 'prometheus'}/\2", text, flags=re.MULTILINE)
    text = re.sub(r"scrape_interval: \w+", f"scrape_interval: {every_s}s", text)
    text = re.sub(r"scrape_timeout: \w+", f"scrape_timeout: {every_s}s", text)
    return re.sub(r"evaluation_interval: \w+", f"evaluation_interval: {every_s}s", text)


def grafana(folder: Path) -> tuple[list[str], dict[str, str]] | None:
    """The command that runs it with our dashboards, and its environment. None: it is not installed."""
    found = shutil.which("grafana")
    home = next((one for one in (Path("/usr/share/grafana"),) if one.is_dir()), None)
    if found is None or home is None:
        return None
    host, _, port = _GRAFANA.rpartition(":")
    return [found, "server", "--homepath", str(home)], {
        **os.environ,
        "GF_PATHS_DATA": str(folder / "grafana"),
        "GF_PATHS_PROVISIONING": str(CONFIG / "grafana" / "provisioning"),
        "GF_SERVER_HTTP_ADDR": host,
        "GF_SERVER_HTTP_PORT": port,
        "GF_AUTH_ANONYMOUS_ENABLED": "true",  # on this machine only: who is here may look
        "EXCHANGE_PROMETHEUS_URL": f"http://{LISTEN}",
        "EXCHANGE_GRAFANA_DASHBOARDS": str(CONFIG / "grafana" / "dashboards"),
    }


def main() -> int:
    """Until Ctrl-C."""
    settings = from_process()
    folder = data_dir_of(settings) / "monitoring"
    command = prometheus(folder, settings.office_listen)
    if command is None:
        sys.stderr.write(_NONE)
        return 1
    running = [subprocess.Popen(command)]
    sys.stdout.write(f"Prometheus  http://{LISTEN}/alerts  (scrapes {settings.office_listen})\n")
    if (board := grafana(folder)) is not None:
        running.append(subprocess.Popen(board[0], env=board[1], stdout=subprocess.DEVNULL))
        sys.stdout.write(f"Grafana     http://{_GRAFANA}/dashboards\n")
    else:
        sys.stdout.write(
            "Grafana is not installed: import config/grafana/dashboards/*.json into one\n"
        )
    sys.stdout.flush()
    return _watch(running)


def _watch(running: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait for Ctrl-C, or for one of them to end; then end them all."""

    def told(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, told)
    try:
        while all(one.poll() is None for one in running):
            time.sleep(0.5)
        return next(code for one in running if (code := one.poll()) is not None)
    except KeyboardInterrupt:
        return 0
    finally:
        for one in running:
            if one.poll() is None:
                one.terminate()
        for one in running:
            one.wait(10)


if __name__ == "__main__":
    sys.exit(main())
