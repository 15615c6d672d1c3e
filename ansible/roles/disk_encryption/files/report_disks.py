"""Says on the console and in the journal which data devices are locked, and why, until all of them are open.

Runs at every start of a host. What is open is written to /run/llmaas-disks/state.json with the seconds since the start
of the kernel; a device that is not in it is locked.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request

CONFIGURATION = "/etc/llmaas/disks.json"
STATE = "/run/llmaas-disks/state.json"
# key servers answer within seconds; whoever waits longer should know what for
PATIENCE_SECONDS = 30
SAY_AGAIN_SECONDS = 300
TIMEOUT_SECONDS = 5
# what failed at the start, as on a host that is very busy, is tried again
TRY_AGAIN_SECONDS = 30


def mounted() -> dict[str, str]:
    """Mount point -> device, of all that is mounted."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        return {line.split()[1]: line.split()[0] for line in file}


def uptime() -> float:
    """Seconds since the start of the kernel."""
    with open("/proc/uptime", encoding="ascii") as file:
        return float(file.read().split()[0])


def silent(servers: list[str]) -> list[str]:
    """The key servers that do not answer, with the reason."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    found = []
    for url in servers:
        try:
            opener.open(f"{url}/adv", timeout=TIMEOUT_SECONDS).close()
        except OSError as error:
            found.append(f"{url} ({getattr(error, 'reason', error)})")
    return found


def reason(device: dict[str, str], servers: list[str], threshold: int) -> str:
    """Why a device is locked."""
    if not os.path.exists(device["path"]):
        return "the device is not there"
    quiet = silent(servers)
    if len(servers) - len(quiet) < threshold:
        return f"{threshold} of {len(servers)} key servers must answer, silent are: {', '.join(quiet)}"
    return "the key servers answer and it is being opened; if that lasts: journalctl -u clevis-luks-askpass"


def try_again(devices: list[dict[str, str]]) -> None:
    """Let systemd open the devices that are there, and mount those that are open; what it is at already goes on."""
    for device in devices:
        name = f"llmaas-{device['purpose']}"
        if os.path.exists(f"/dev/mapper/{name}"):
            unit = device["mount"]
        elif os.path.exists(device["path"]):
            escaped = name.replace("-", "\\x2d")
            unit = f"systemd-cryptsetup@{escaped}.service"
        else:
            continue
        subprocess.run(["systemctl", "start", "--no-block", unit], check=False)


def start_what_waited() -> None:
    """Start what systemd has given up, since what it needs was not there in time: the target has all that shall run."""
    subprocess.run(["systemctl", "start", "--no-block", "multi-user.target"], check=False)


def main() -> int:
    """Watch until everything is open."""
    with open(CONFIGURATION, encoding="utf-8") as file:
        configuration = json.load(file)
    opened: dict[str, float] = {}
    say_at = time.monotonic() + PATIENCE_SECONDS
    again_at = time.monotonic() + TRY_AGAIN_SECONDS
    late = False
    while True:
        points = mounted()
        for device in configuration["devices"]:
            purpose = device["purpose"]
            if purpose not in opened and points.get(device["mount"]) == f"/dev/mapper/llmaas-{purpose}":
                opened[purpose] = uptime()
        temporary = f"{STATE}.new"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(opened, file)
        os.replace(temporary, STATE)
        locked = [device for device in configuration["devices"] if device["purpose"] not in opened]
        if not locked:
            print(
                f"llmaas: all {len(opened)} data devices are open, {max(opened.values(), default=0):.0f} s after start"
            )
            if late:
                start_what_waited()
            return 0
        if time.monotonic() >= again_at:
            again_at = time.monotonic() + TRY_AGAIN_SECONDS
            try_again(locked)
            late = True
        if time.monotonic() >= say_at:
            say_at = time.monotonic() + SAY_AGAIN_SECONDS
            for device in locked:
                why = reason(device, configuration["key_servers"], configuration["threshold"])
                print(f"llmaas: LOCKED: {device['purpose']} on {device['path']} ({device['mount']}): {why}", flush=True)
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
