"""The certificates of one environment: an offline root, one issuing authority below it, short-lived leaves.

``open_authority("lab").ensure_leaf("registry", dns=["registry.lab.llmaas.internal"], usage="server")`` gives the
paths of a certificate that is valid now and for at least a month.
"""

from llmaas.pki.authority import Authority, Leaf, PkiError, Usage, open_authority

__all__ = ["Authority", "Leaf", "PkiError", "Usage", "open_authority"]
