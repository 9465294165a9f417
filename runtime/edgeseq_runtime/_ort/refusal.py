"""Why onnxruntime does not open a file, and what would: an operator, an opset or an IR that it does not know."""

import re

from edgeseq_runtime.errors import DamagedFileError, FileError, UnsupportedFileError

_OPERATOR = re.compile(
    r"No Op registered for (?P<op>\S+) with domain_version of (?P<opset>\d+)|"
    r"error: (?P<domain>[\w.]*):(?P<own>\w+)\(-?\d+\) is not a registered function/op"
)
_OPSET = re.compile(
    r"Opset (?P<opset>\d+) is under development.*domain (?P<domain>\S+) is till opset (?P<most>\d+)", re.S
)
_IR = re.compile(r"Unsupported model IR version: (?P<ir>\d+), max supported IR version: (?P<most>\d+)")
_KERNEL = re.compile(r"Could not find an implementation for (?P<op>\w+)\((?P<opset>\d+)\)")


def refusal(name: str, version: str, error: Exception) -> FileError:
    """The error to raise where onnxruntime of that version raised `error` on opening the file `name`."""
    text = str(error)
    if found := _OPSET.search(text):
        return UnsupportedFileError(
            f"'{name}' needs opset {found['opset']} of {found['domain']}, but onnxruntime {version} knows up to "
            f"{found['most']}. A newer onnxruntime may open it, or a file exported with --opset {found['most']} or less"
        )
    if found := _IR.search(text):
        return UnsupportedFileError(
            f"'{name}' has the IR version {found['ir']}, but onnxruntime {version} reads up to {found['most']}. "
            f"A newer onnxruntime may open it, or the file saved anew with ir_version {found['most']} or less"
        )
    if found := _OPERATOR.search(text):
        operator, domain = found["op"] or found["own"], found["domain"]
        where = f"of the domain '{domain}'" if domain else f"of opset {found['opset']}" if found["opset"] else "of ONNX"
        mend = (
            "It opens where the library with that domain's operators is registered; edgeseq registers none"
            if domain and domain != "com.microsoft"
            else "A newer onnxruntime may have it; else export the model with other operators"
        )
        return UnsupportedFileError(
            f"'{name}' needs the operator {operator} {where}, which onnxruntime {version} has not. {mend}"
        )
    if found := _KERNEL.search(text):
        return UnsupportedFileError(
            f"'{name}' needs the operator {found['op']} (opset {found['opset']}) for a type for which onnxruntime "
            f"{version} has no code here. Another type, such as float32, or another provider may have it: {text}"
        )
    return DamagedFileError(f"'{name}' is not an ONNX file that onnxruntime {version} opens: {text}")
