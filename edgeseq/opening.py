"""Any path that can be exported, opened as a module with its signature."""

from pathlib import Path

from edgeseq_export import Source

from edgeseq import checkpoint


def open_source(path: str | Path) -> Source:
    """Open a checkpoint (`.pt` of edgeseq) for export or as the judge of an exported file.

    Raises:
        MissingFileError, DamagedFileError, UnsafeFileError, FileError: as `checkpoint.load`.
    """
    loaded = checkpoint.load(path)
    known = {key: value for key, value in loaded.provenance.items() if key != "recipe"}
    signature = loaded.module.signature()
    return Source(
        module=loaded.module,
        signature=signature,
        family=loaded.family,
        task=loaded.module.task,
        name=Path(path).name,
        form=loaded.module.recurrence,
        steps=None if signature.streamable else loaded.hints.longest,  # a longer one could not go on in chunks
        labels=loaded.hints.labels,
        vocabulary=loaded.module.vocabulary(),
        initial=loaded.module.initial_values(),
        values=loaded.module.values(),
        provenance={**known, "checkpoint_sha256": loaded.sha256},
    )
