"""Runs on a host: asks its live parts, not the files that we wrote, how hard they are. Prints one JSON object."""

import ctypes
import json
import os
import pwd
import stat
import subprocess
from pathlib import Path
from typing import Any

# An account that no password opens and that nobody uses: its wrong passwords are counted, and forgotten afterwards.
ACCOUNT = "nobody"
PAM_SUCCESS, PAM_CONV_ERR = 0, 19
PAM_FAIL_DELAY = 10
# what pods and containers make is judged by the policies; the rest is the kernel's
# (/var/lib/private holds what services without a fixed account keep, for root's eyes alone)
SKIPPED = (
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/lib/private",
    "/var/lib/llmaas/volumes",
)
MOUNTS = ("/tmp", "/dev/shm", "/proc")  # noqa: S108  (looked at, never written)


def said(*command: str) -> str:
    """What a command prints, whether it succeeds or not; empty where it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        return ""
    return done.stdout + done.stderr


def content(path: str) -> str:
    """What a file of the kernel holds; empty where it is not there."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def words(text: str, separator: str) -> dict[str, str]:
    """Lines of two parts, as a mapping."""
    parts = (line.partition(separator) for line in text.splitlines())
    return {name: " ".join(value.split()) for name, found, value in parts if found}


class Message(ctypes.Structure):
    """What PAM asks."""

    _fields_ = [("style", ctypes.c_int), ("text", ctypes.c_char_p)]


class Response(ctypes.Structure):
    """What it is answered."""

    _fields_ = [("text", ctypes.c_void_p), ("code", ctypes.c_int)]


CONVERSE = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(Message)),
    ctypes.POINTER(ctypes.POINTER(Response)),
    ctypes.c_void_p,
)
DELAY = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)


class Conversation(ctypes.Structure):
    """Who answers PAM."""

    _fields_ = [("converse", CONVERSE), ("data", ctypes.c_void_p)]


def authenticate(service: str, account: str, password: str) -> int:
    """PAM's answer to one password, without its delay."""
    pam, libc = ctypes.CDLL("libpam.so.0"), ctypes.CDLL("libc.so.6")
    libc.calloc.restype = libc.strdup.restype = ctypes.c_void_p

    def answer(count: int, _messages: Any, responses: Any, _data: Any) -> int:
        memory = libc.calloc(count, ctypes.sizeof(Response))
        responses[0] = ctypes.cast(memory, ctypes.POINTER(Response))
        for index in range(count):
            responses[0][index].text = libc.strdup(password.encode())
        return PAM_SUCCESS

    conversation = Conversation(CONVERSE(answer), None)
    without_delay = DELAY(lambda _result, _microseconds, _data: None)
    handle = ctypes.c_void_p()
    if pam.pam_start(service.encode(), account.encode(), ctypes.byref(conversation), ctypes.byref(handle)):
        return PAM_CONV_ERR
    pam.pam_set_item(handle, PAM_FAIL_DELAY, ctypes.cast(without_delay, ctypes.c_void_p))
    result = int(pam.pam_authenticate(handle, 0))
    pam.pam_end(handle, result)
    return result


def counted_failures() -> int:
    """How many wrong passwords of five were counted: none is any more once the account is locked."""
    said("faillock", "--user", ACCOUNT, "--reset")
    for _ in range(5):
        authenticate("other", ACCOUNT, "wrong")
    shown = said("faillock", "--user", ACCOUNT).splitlines()
    said("faillock", "--user", ACCOUNT, "--reset")
    return sum(line.split()[-1] == "V" for line in shown if line[:4].isdigit())


def password_judgements() -> dict[str, bool]:
    """Whether the library that PAM asks takes a password that is guessed, one that is short, one that is long."""
    library = ctypes.CDLL("libpasswdqc.so.1")
    # its parameters, which the library fills, are far smaller
    parameters = ctypes.create_string_buffer(4096)
    library.passwdqc_check.restype = ctypes.c_char_p
    library.passwdqc_params_reset(parameters)
    reason = ctypes.c_char_p()
    if library.passwdqc_params_load(parameters, ctypes.byref(reason), b"/etc/passwdqc.conf"):
        raise SystemExit(f"/etc/passwdqc.conf: {reason.value!r}")
    passwords = {"guessed": b"Password123456", "short": b"kX7#qP2!vT", "long": b"kX7#qP2!vTz9@Lm4&wRb"}
    # the parameters of how it judges follow those of how it reads
    judge = ctypes.byref(parameters, 0)
    return {name: library.passwdqc_check(judge, word, None, None) is None for name, word in passwords.items()}


def password_stack(service: str) -> list[str]:
    """What PAM asks, in its order, when a service changes a password: control and module, includes followed."""
    found = []
    for line in content(f"/etc/pam.d/{service}").splitlines():
        first, *rest = line.split() or ["#"]
        if first == "@include":
            found += password_stack(rest[0])
        elif first.lstrip("-") == "password":
            found += password_stack(rest[1]) if rest[0] == "include" else [" ".join(rest[:2])]
    return found


def opened_accounts() -> list[str]:
    """Accounts that a password opens."""
    lines = content("/etc/shadow").splitlines()
    return [name for name, secret in (line.split(":")[:2] for line in lines) if not secret.startswith(("!", "*"))]


def loose_files() -> dict[str, list[str]]:
    """Programs with their owner's rights, and what anybody may write or nobody owns, outside of pods."""
    found: dict[str, list[str]] = {"setuid": [], "writable": [], "unowned": []}
    users = {entry.pw_uid for entry in pwd.getpwall()}
    for folder, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if str(Path(folder, name)) not in SKIPPED]
        for name in (*folders, *files):
            path = str(Path(folder, name))
            try:
                info = os.lstat(path)
            except OSError:
                continue
            if stat.S_ISLNK(info.st_mode):
                continue
            if stat.S_ISREG(info.st_mode) and info.st_mode & stat.S_ISUID:
                found["setuid"].append(path)
            if info.st_mode & stat.S_IWOTH and not (stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX):
                found["writable"].append(path)
            if info.st_uid not in users:
                found["unowned"].append(path)
    return found


def units() -> dict[str, str]:
    """Every unit's file state."""
    lines = said("systemctl", "list-unit-files", "--no-legend", "--no-pager").splitlines()
    return {line.split()[0]: line.split()[1] for line in lines if len(line.split()) > 1}


def main() -> None:
    """Print everything."""
    sshd = said("sshd", "-T")
    simulated = said("apt-get", "--simulate", "--with-new-pkgs", "upgrade").splitlines()
    facts = {
        "sshd": words(sshd, " "),
        "allowed_users": [line.split()[1] for line in sshd.splitlines() if line.startswith("allowusers ")],
        "sysctl": words(said("sysctl", "--all"), " = "),
        "counted_failures": counted_failures(),
        "passwords": password_judgements(),
        "password_asks_first": {name: password_stack(name)[:1] for name in ("passwd", "chpasswd")},
        "opened_accounts": opened_accounts(),
        "accounts_of_root": [entry.pw_name for entry in pwd.getpwall() if entry.pw_uid == 0],
        "files": loose_files(),
        "mounts": {
            path: said("findmnt", "--noheadings", "--first-only", "--output", "OPTIONS", path).strip().split(",")
            for path in MOUNTS
        },
        "umask": said("bash", "--login", "-c", "umask").strip(),
        "idle_seconds": said("bash", "--login", "-c", "echo $TMOUT").strip(),
        # sudo answers at a terminal alone
        "sudo": said("script", "-qec", f"sudo -l -U {ACCOUNT}; sudo -l", "/dev/null"),
        "modprobe": [line for line in said("modprobe", "--showconfig").splitlines() if line.startswith("install ")],
        "container": Path("/run/systemd/container").exists(),
        "apparmor_profiles": content("/sys/kernel/security/apparmor/profiles").count("(enforce)"),
        "audit": words(said("auditctl", "-s"), " "),
        "audit_rules": said("auditctl", "-l").splitlines(),
        "time": [line.split(",") for line in said("chronyc", "-c", "-N", "authdata").splitlines()],
        "journal": [str(path) for path in Path("/var/log/journal").glob("*/*.journal")],
        "units": units(),
        "packages": said("dpkg-query", "--show", "--showformat", "${Package}\n").split(),
        "upgrades": [line for line in simulated if line.startswith("Inst ")],
    }
    print(json.dumps(facts))


main()
