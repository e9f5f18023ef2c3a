"""The check of `raydub doctor` on marks: whether labels can be drawn and outputs be signed here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from raydub.cluster.found import Check
from raydub.errors import RaydubError
from raydub.stages.marks.certificate import find_signer, need_c2pa
from raydub.stages.marks.signing import CERT_VARIABLE, wanted


def marks_check() -> Check:
    """Raises what find_signer() raises where the environment asks for credentials that cannot be made."""
    signer = find_signer() if wanted() else None
    found, hints = ["tags, XMP"], []
    try:
        import PIL.features

        shaped = "" if PIL.features.check("raqm") else ", without libraqm for Arabic, Hebrew or Hindi"
        found.append(f"labels (Pillow {version('pillow')}{shaped})")
    except (ImportError, PackageNotFoundError):
        hints.append("labels: pip install 'raydub[label]'")
    try:
        need_c2pa("sign credentials")
        found.append(f"credentials (c2pa-python {version('c2pa-python')})")
    except (RaydubError, PackageNotFoundError):
        hints.append("credentials: pip install 'raydub[c2pa]'")
    if signer is not None:
        found.append(f"signed by {signer.subject} ({CERT_VARIABLE})")
    return Check("marks", "note" if hints else "ok", ", ".join(found), "; ".join(hints))
