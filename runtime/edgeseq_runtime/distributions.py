"""Which distributions that bring onnxruntime are installed, told without importing it."""

BOTH_INSTALLED = (
    "onnxruntime and onnxruntime-gpu are both installed; they overwrite each other's files, and one provider is lost. "
    "Uninstall both, then install one: pip uninstall -y onnxruntime onnxruntime-gpu && "
    "pip install 'edgeseq-runtime[gpu]'"
)


def installed_onnxruntimes() -> dict[str, str]:
    """The installed distributions that bring the import package onnxruntime, with their versions."""
    from importlib import metadata  # half of what importing this package would cost, and rarely needed

    found = {}
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def offers(distribution: str, extra: str) -> bool:
    """Whether an installed distribution has an extra, such as the libraries it needs."""
    from importlib import metadata

    return extra in (metadata.metadata(distribution).get_all("Provides-Extra") or ())
