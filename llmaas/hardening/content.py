"""What OpenSCAP judges by: Debian's own SCAP content, admitted to Debian 12, and the rules that are selected of it.

Debian 12 ships content for Debian 11 at the newest (ssg-debian 0.1.65), with ANSSI's guide under its old number:
DAT-NT-28, today BP-028, and "restrictive" for what is "enhanced" today. Its profile is taken whole. Added are the rules
that the same version's ``anssi_bp28_enhanced`` profiles (of RHEL 8, RHEL 9 and SLE 15) select and that the Debian
content has a check for: the profile of that name that newer content has for Debian 12 is drawn from the same list.
"""

from pathlib import Path
from typing import Final

SOURCE: Final = Path("/usr/share/xml/scap/ssg/content/ssg-debian11-ds.xml")
RULE: Final = "xccdf_org.ssgproject.content_rule_"
VALUE: Final = "xccdf_org.ssgproject.content_value_"
PROFILE_PREFIX: Final = "xccdf_org.ssgproject.content_profile_"
PROFILE: Final = f"{PROFILE_PREFIX}llmaas_anssi_bp28_enhanced"

RESTRICTIVE: Final = "anssi_np_nt28_restrictive"
ENHANCED: Final = "anssi_bp28_enhanced"

# The content asks /etc/debian_version whether it may judge at all.
_ASKS: Final = '<ind:pattern operation="pattern match">^11.[0-9]+$</ind:pattern>'
_ADMITS: Final = '<ind:pattern operation="pattern match">^1[12]\\.[0-9]+$</ind:pattern>'

# What BP-028 wants where the content asks for less: addresses of the kernel are hidden from root too (R9).
VALUES: Final = {"sysctl_kernel_kptr_restrict_value": "2"}

_ENHANCED_FILE: Final = Path(__file__).with_name("anssi_bp28_enhanced.txt")


class ContentError(Exception):
    """The SCAP content is not there, or is not the one that this was written for."""


def enhanced_rules() -> frozenset[str]:
    """The rules of ``anssi_bp28_enhanced`` that the Debian content has a check for."""
    lines = _ENHANCED_FILE.read_text(encoding="ascii").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


def data_stream(source: Path = SOURCE) -> str:
    """Debian's content with its question for the release widened to Debian 12; nothing else differs.

    Raises:
        ContentError: the file is missing, or asks for the release in another way.
    """
    try:
        text = source.read_text(encoding="utf-8")
    except OSError as error:
        raise ContentError(f"{error}; run: apt-get install --no-install-recommends ssg-debian") from error
    if _ASKS not in text:
        raise ContentError(f"{source} asks for the release in another way than ssg-debian 0.1.65 does; look at it")
    return text.replace(_ASKS, _ADMITS)


def tailoring() -> str:
    """A profile that extends Debian's own by the rules of ``anssi_bp28_enhanced``."""
    selected = "\n".join(
        f'    <xccdf:select idref="{RULE}{rule}" selected="true"/>' for rule in sorted(enhanced_rules())
    )
    refined = "\n".join(
        f'    <xccdf:refine-value idref="{VALUE}{value}" selector="{selector}"/>' for value, selector in VALUES.items()
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<xccdf:Tailoring xmlns:xccdf="http://checklists.nist.gov/xccdf/1.2" id="xccdf_llmaas_tailoring_bp28">
  <xccdf:version time="2026-11-25T00:00:00">1</xccdf:version>
  <xccdf:Profile id="{PROFILE}" extends="{PROFILE_PREFIX}{RESTRICTIVE}">
    <xccdf:title>ANSSI BP-028 (enhanced), as far as Debian's content checks it</xccdf:title>
{selected}
{refined}
  </xccdf:Profile>
</xccdf:Tailoring>
"""
