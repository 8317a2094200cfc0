"""ONNX Runtime on the CPU. Only this module imports it."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from service.arrays import Floats
from service.errors import ArtifactMismatch
from service.imaging.analysis.text import NETWORK, TextFinder

# Before 1.32 it folds a pad into the pool behind it although the pad is larger than the kernel,
# as in the maps of bundles of format 1; the session then refuses its own graph.
DISABLED_OPTIMISERS = "Pad_Fusion"  # separated by semicolons


def open_session(path: Path, threads: int) -> Any:
    """An ``onnxruntime.InferenceSession`` of a network; several threads may run it at once.

    Args:
        path: of the network.
        threads: of one forward pass, including that of the caller; 0 = every core.

    Raises:
        ArtifactMismatch: the network does not open.
    """
    # Since 1.29 the Linux wheels report to Microsoft, and leave a device id in the home folder
    # (their Privacy.md), unless this variable is set before the first import.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads would occupy the core that decodes the next frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(
        "optimization.disable_specified_optimizers", DISABLED_OPTIMISERS
    )
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises many types, none of one base
        raise ArtifactMismatch(f"{path.name} does not open in ONNX Runtime") from error


def open_text_finder(file: Path = NETWORK) -> TextFinder:
    """The detector of burned-in text. Raises ArtifactMismatch: the network does not open."""
    session = open_session(file, threads=1)

    def network(frame_11hw: Floats) -> Floats:
        return np.asarray(session.run(["logits"], {"frame": frame_11hw})[0])

    return TextFinder(network)
