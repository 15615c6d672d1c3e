"""From nothing to a served API: the phases of `make up`, in order; each does nothing where all is done."""

from pathlib import Path

from rich.console import Console

from lab.base import base_folder, ensure_base
from lab.command import run
from lab.deploy import converge_hosts, demo_key, deploy_cluster, first_answer
from lab.doctor import Level, diagnose, problems_text
from lab.environment import base_url, demo_key_file
from lab.errors import LabError
from lab.hosts import host_states, start_hosts
from lab.images.ensure import ensure_images, lock_path
from lab.images.registry import registry_of
from lab.kernel import apply_kernel_settings
from lab.keys import administrator_key, write_known_hosts
from lab.layout import ENVIRONMENT, Layout
from lab.models import ensure_models
from lab.network import bridge_up
from lab.phases import Phase, Start, record_times, run_phases
from lab.site import ensure_site
from lab.site.packages import ensure_packages
from lab.spec import LabSpec
from lab.toolchain import ensure_toolchain, tool_folders
from llmaas.materials import issue_certificates
from llmaas.paths import PROJECT_ROOT
from llmaas.settings import load_platform
from llmaas.views.leaves import leaf_requests


class Report:
    """Writes what a phase says to its log."""

    def __init__(self, log: Path) -> None:
        """Takes the phase's log."""
        self._log = log

    def __call__(self, line: str) -> None:
        """Append one line."""
        with self._log.open("a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")


class Bringup:
    """The actions of the phases, on one lab."""

    def __init__(self, layout: Layout, spec: LabSpec) -> None:
        """Takes the lab's folders and what the stack file asks for."""
        self._layout = layout
        self._spec = spec

    def doctor(self, log: Path) -> str:
        """Can this machine carry the lab? At most what an interrupted run had left at work was ended before."""
        findings = diagnose(self._layout, self._spec)
        report = Report(log)
        for finding in findings:
            report(f"{finding.level.value:<5} {finding.subject}: {finding.text}")
        problems = problems_text(findings)
        if problems:
            raise LabError(problems, remedy="mend these, then run `make up` again; nothing was begun")
        notes = (f"; {each.subject}: {each.text}" for each in findings if each.level is Level.NOTE)
        return f"{len(findings)} checks{''.join(notes)}"

    def packages(self, log: Path) -> str:
        """Debian packages of this machine."""
        printed = run([PROJECT_ROOT / "bin" / "install-packages"], log=log).strip()
        return printed.splitlines()[0] if printed else "all there"

    def toolchain(self, log: Path) -> str:
        """Pulumi, Kubernetes, etcd and CoreDNS."""
        ensure_toolchain(Report(log))
        return "Pulumi, Kubernetes, etcd, CoreDNS"

    def disks(self, log: Path) -> str:
        """What the hosts start from, and what they may install."""
        ensure_base(self._layout, log)
        ensure_packages(self._layout, log)
        return "base disk and package mirror"

    def certificates(self, _log: Path) -> str:
        """The authority and the certificates of everything that runs in the cluster."""
        platform = load_platform(ENVIRONMENT)
        issue_certificates(platform)
        return f"{len(leaf_requests(platform))} in force"

    def site(self, log: Path) -> str:
        """Network, package mirror, registry and clock on this machine."""
        apply_kernel_settings(self._layout)
        bridge_up(self._layout, self._spec)
        ensure_site(self._layout, self._spec, Report(log))
        return "packages, registry, clock"

    def models(self, log: Path) -> str:
        """Weights in the site's artefact store."""
        ensure_models(Report(log))
        return "weights in the artefact store"

    def images(self, log: Path) -> str:
        """Container images built, pushed and locked by digest."""
        platform = load_platform(ENVIRONMENT)
        lock = ensure_images(registry_of(platform), lock_path(ENVIRONMENT, platform.images.lock), report=Report(log))
        return f"{len(lock)} locked by digest"

    def hosts(self, log: Path) -> str:
        """The bare hosts."""
        administrator_key(self._layout)
        write_known_hosts(self._layout, self._spec)
        started = start_hosts(self._layout, self._spec.hosts, ensure_base(self._layout, log), Report(log))
        return f"{len(self._spec.hosts)} run, {len(started)} of them started now"

    def ansible(self, log: Path) -> str:
        """From bare hosts to a cluster."""
        hosts, changes = converge_hosts(self._layout, log)
        return f"{hosts} hosts, {changes} changes"

    def pulumi(self, log: Path) -> str:
        """Everything in the cluster."""
        return deploy_cluster(self._layout, log)

    def tenant(self, log: Path) -> str:
        """A tenant with a key."""
        return demo_key(self._layout, log)

    def answer(self, _log: Path) -> str:
        """The first answer through the edge."""
        return first_answer(self._layout, load_platform(ENVIRONMENT).models[0].name)


def phases(layout: Layout, spec: LabSpec) -> list[Phase]:
    """All of them, in order."""
    lab = Bringup(layout, spec)
    return [
        Phase("doctor", "looking at this machine", lab.doctor),
        Phase("packages", "installing Debian packages that are missing", lab.packages),
        Phase("toolchain", "building what is missing of the toolchain", lab.toolchain),
        Phase("disks", "making the base disk and the package mirror", lab.disks),
        Phase("certificates", "issuing certificates", lab.certificates),
        Phase("site", "starting the site's services", lab.site),
        Phase("models", "making the weights", lab.models),
        Phase("images", "building and pushing images", lab.images),
        Phase("hosts", "starting the hosts", lab.hosts),
        Phase("ansible", "setting the hosts up", lab.ansible),
        Phase("pulumi", "deploying into the cluster", lab.pulumi),
        Phase("tenant", "making a tenant and a key", lab.tenant),
        Phase("answer", "waiting for a first answer", lab.answer),
    ]


def _start(layout: Layout, spec: LabSpec) -> Start:
    """What there is before the first phase."""
    if not (base_folder(layout).exists() and tool_folders()):
        return Start.COLD
    running = host_states(layout, spec)
    if not any(running.values()):
        return Start.PARTLY if (layout.state / "kubeconfig").exists() else Start.WARM
    return Start.RUNNING if all(running.values()) and demo_key_file(layout).exists() else Start.PARTLY


def bring_up(layout: Layout, spec: LabSpec, console: Console, until: str = "") -> None:
    """Run every phase, or those up to and including ``until``, keep their times, and say how to go on.

    Raises:
        LabError: the phase that failed, its log and what to do.
    """
    every = phases(layout, spec)
    names = [phase.name for phase in every]
    if until:
        if until not in names:
            raise LabError(f"there is no phase {until!r}", remedy=f"name one of: {', '.join(names)}")
        run_phases(every[: names.index(until) + 1], layout, console)
        return
    start = _start(layout, spec)
    record_times(layout, start, run_phases(every, layout, console))
    console.print(
        f"\nbase URL    {base_url()}\n"
        f"CA file     {layout.state / 'pki' / 'root.crt'}\n"
        f"tenant key  in {demo_key_file(layout)}: {demo_key_file(layout).read_text(encoding='utf-8').strip()}\n\n"
        'Next: eval "$(bin/llmaas lab env)"',
        highlight=False,
        soft_wrap=True,
    )
