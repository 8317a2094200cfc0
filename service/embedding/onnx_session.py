"""ONNX Runtime on the CPU: the one place that imports it."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from service.errors import ArtifactMismatch
from service.imaging.analysis.text import NETWORK, TextFinder


def open_session(path: Path, threads: int) -> Any:
    """An ``onnxruntime.InferenceSession`` of a network; callers may run it side by side.

    Args:
        path: of the network.
        threads: of one forward pass, the caller's included; 0 = every core.

    Raises:
        ArtifactMismatch: the network does not open.
    """
    onnxruntime = _silent_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads would take the core that decodes the next frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises many types, none of one base
        raise ArtifactMismatch(f"{path.name} does not open in ONNX Runtime") from error


def open_text_finder(file: Path = NETWORK) -> TextFinder:
    """The detector of burned-in text. Raises ArtifactMismatch: the network does not open."""
    session = open_session(file, threads=1)

    def network(frame_11hw: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        logits_11rc: npt.NDArray[np.float32]
        (logits_11rc,) = session.run(["logits"], {"frame": frame_11hw})
        return logits_11rc

    return TextFinder(network)


def _silent_onnxruntime() -> Any:
    """Import ONNX Runtime with its telemetry off.

    Since 1.29 the Linux wheels report to Microsoft unless this variable is set before the first
    import; they also leave a device id in the home folder (their Privacy.md).
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime
