"""Runs on a host: asks its live parts, not the files that we wrote, how hard they are. Prints one JSON object."""

import ctypes
import glob
import json
import os
import pwd
import stat
import subprocess

# An account that no password opens and that nobody uses: its wrong passwords are counted, and forgotten afterwards.
ACCOUNT = "nobody"
PAM_SUCCESS, PAM_CONV_ERR = 0, 19
PAM_FAIL_DELAY = 10
# mounts that hold the system itself; what pods and containers make is judged by the policies
SKIPPED = ("/proc", "/sys", "/dev", "/run", "/var/lib/containerd", "/var/lib/kubelet")


def said(*command):
    """What a command prints, whether it succeeds or not; empty where it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        return ""
    return done.stdout + done.stderr


def words(*command):
    """Lines of two parts, as a mapping."""
    return {
        name.lower(): value.strip() for name, _, value in (line.partition(" ") for line in said(*command).splitlines())
    }


def kernel_parameters():
    """Every parameter that can be read."""
    found = {}
    for line in said("sysctl", "--all").splitlines():
        name, separator, value = line.partition(" = ")
        if separator:
            found[name] = " ".join(value.split())
    return found


class Message(ctypes.Structure):
    _fields_ = [("style", ctypes.c_int), ("text", ctypes.c_char_p)]


class Response(ctypes.Structure):
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
    _fields_ = [("converse", CONVERSE), ("data", ctypes.c_void_p)]


def authenticate(service, account, password):
    """PAM's answer to one password, without its delay."""
    pam, libc = ctypes.CDLL("libpam.so.0"), ctypes.CDLL("libc.so.6")
    libc.calloc.restype = libc.strdup.restype = ctypes.c_void_p

    def answer(count, _messages, responses, _data):
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
    result = pam.pam_authenticate(handle, 0)
    pam.pam_end(handle, result)
    return result


def lockout():
    """How many wrong passwords were counted of five, and whether the account is locked after them."""
    said("faillock", "--user", ACCOUNT, "--reset")
    results = [authenticate("other", ACCOUNT, "wrong") for _ in range(5)]
    shown = said("faillock", "--user", ACCOUNT)
    counted = sum(line.split()[-1] == "V" for line in shown.splitlines() if line[:4].isdigit())
    said("faillock", "--user", ACCOUNT, "--reset")
    return {"results": results, "counted": counted}


def password_judgements():
    """Whether the library that PAM asks takes passwords: one that is guessed, one that is short, one that is long."""
    library = ctypes.CDLL("libpasswdqc.so.1")
    library.passwdqc_check.restype = ctypes.c_char_p
    # the first part of its parameters, which passwdqc_params_load fills; 4096 bytes are more than it has
    parameters = ctypes.create_string_buffer(4096)
    library.passwdqc_params_reset(parameters)
    reason = ctypes.c_char_p()
    if library.passwdqc_params_load(parameters, ctypes.byref(reason), b"/etc/passwdqc.conf"):
        return {"error": str(reason.value)}
    passwords = {"guessed": b"Password123456", "short": b"kX7#qP2!vT", "long": b"kX7#qP2!vTz9@Lm4&wRb"}
    return {name: library.passwdqc_check(parameters, word, None, None) is None for name, word in passwords.items()}


def accounts():
    """Accounts with their shell, number and whether a password opens them."""
    with open("/etc/shadow", encoding="utf-8") as file:
        secrets = dict(line.split(":")[:2] for line in file)
    return [
        {
            "name": entry.pw_name,
            "uid": entry.pw_uid,
            "shell": entry.pw_shell,
            "opens": not secrets.get(entry.pw_name, "!").startswith(("!", "*")),
        }
        for entry in pwd.getpwall()
    ]


def loose_files():
    """Programs with their owner's rights, and what anybody may write or nobody owns, outside of pods."""
    found = {"setuid": [], "writable": [], "unowned": []}
    users = {entry.pw_uid for entry in pwd.getpwall()}
    for folder, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in SKIPPED]
        for name in (*folders, *files):
            path = os.path.join(folder, name)
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


def mounts():
    """Options of the mounts that everybody may write, and of the list of processes."""
    found = {}
    for path in ("/tmp", "/dev/shm", "/proc"):
        found[path] = said("findmnt", "--noheadings", "--first-only", "--output", "OPTIONS", path).strip().split(",")
    return found


def content(path):
    """What a file of the kernel holds; empty where it is not there."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def main():
    """Print everything."""
    facts = {
        "sshd": words("sshd", "-T"),
        "allowed_users": [
            line.split()[1] for line in said("sshd", "-T").splitlines() if line.startswith("allowusers ")
        ],
        "sysctl": kernel_parameters(),
        "lockout": lockout(),
        "passwords": password_judgements(),
        "accounts": accounts(),
        "files": loose_files(),
        "mounts": mounts(),
        "umask": said("bash", "--login", "-c", "umask").strip(),
        "idle_seconds": said("bash", "--login", "-c", "echo $TMOUT").strip(),
        "core_limit": said("bash", "-c", "ulimit -Hc").strip(),
        "sudo": said("sudo", "-V"),
        "sudo_of_nobody": said("sudo", "-l", "-U", ACCOUNT),
        "modprobe": said("modprobe", "--showconfig").splitlines(),
        "modules": sorted(line.split()[0] for line in content("/proc/modules").splitlines()),
        "container": os.path.exists("/run/systemd/container"),
        "apparmor": content("/sys/module/apparmor/parameters/enabled"),
        "apparmor_profiles": content("/sys/kernel/security/apparmor/profiles").count("(enforce)"),
        "audit": said("auditctl", "-s"),
        "audit_rules": said("auditctl", "-l").splitlines(),
        "time": [line.split(",") for line in said("chronyc", "-c", "-N", "authdata").splitlines()],
        "journal": bool(glob.glob("/var/log/journal/*/*.journal")),
        "units": {
            unit: state
            for unit, state in (
                line.split()[:2] for line in said("systemctl", "list-unit-files", "--no-legend").splitlines()
            )
        },
        "packages": said("dpkg-query", "--show", "--showformat", "${Package}\n").split(),
        "upgrades": [
            line for line in said("apt-get", "--simulate", "upgrade").splitlines() if line.startswith("Inst ")
        ],
    }
    print(json.dumps(facts))


main()
