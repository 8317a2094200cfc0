"""What is sent of a file: its bytes, and what the table and its DICOM header say of it."""

import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from service.access.pseudonyms import Pseudonyms
from service.cli.folder_walk import HEAD_BYTES, PassedOver, judge
from service.cli.ingest_report import Settled, path_text
from service.errors import UnsupportedFormat
from service.imaging.formats.dicom_identity import DicomIdentity, read_identity
from service.imaging.formats.file_type import family_of

MAX_FILE_BYTES = 2_000_000_000  # read into memory at once


@dataclass(frozen=True, slots=True)
class FileToSend:
    """A file with what the caller knows of it, as its size and time are before it is read."""

    path: Path
    text: str
    metadata: Mapping[str, Any]
    bytes: int = 0
    modified_ns: int = 0

    @property
    def metadata_digest(self) -> str:
        """Of the metadata; empty where there are none."""
        if not self.metadata:
            return ""
        text = json.dumps(self.metadata, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def settled(self, outcome: Any, code: str = "", detail: str = "", **more: str) -> Settled:
        """The line of the report about this file."""
        return Settled(
            self.text,
            outcome,
            code,
            detail,
            bytes=self.bytes,
            modified_ns=self.modified_ns,
            metadata=self.metadata_digest,
            **more,
        )

    def passed_over(self, reason: PassedOver) -> Settled:
        """The line about a file that is not sent."""
        failed = "unreadable" if reason.code in ("unreadable", "broken_link") else "refused"
        return self.settled(failed if reason.failed else "passed_over", reason.code, reason.detail)


def file_to_send(path: Path, metadata: Mapping[str, Any], folder: Path | None) -> FileToSend:
    """A file as it lies on the disk; one that cannot be reached is reported when it is read."""
    text = path_text(path, folder)
    try:
        status = path.stat()
    except OSError:
        return FileToSend(path, text, metadata)
    return FileToSend(path, text, metadata, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file in memory; ``metadata`` includes pseudonyms, ``remark`` says what it lacks."""

    file: FileToSend
    data: bytes
    sha256: str
    metadata: Mapping[str, Any]
    remark: str = ""


@dataclass(slots=True)
class FileReader:
    """Reads files for several threads.

    Attributes:
        pseudonyms: for ids in DICOM headers; None = these are not read.
        any_content: send files of every content, for the service to judge.
        listed: a person named each file, so that one that is no image has failed.
    """

    pseudonyms: Pseudonyms | None = None
    any_content: bool = True
    listed: bool = False
    ids: "IdBook" = field(default_factory=lambda: IdBook())

    def read(self, file: FileToSend) -> ReadFile | Settled:
        """The file, or the line that says why it is not sent."""
        try:
            with file.path.open("rb") as stream:
                head = stream.read(HEAD_BYTES)
                reason = None if self.any_content else judge(file.path, head)
                if reason is not None:
                    return self._passed_over(file, reason)
                if file.bytes > MAX_FILE_BYTES:
                    detail = f"expected at most {MAX_FILE_BYTES} bytes, got {file.bytes}"
                    return file.settled("refused", "upload_too_large", detail)
                data = head + stream.read()
        except OSError as error:
            return file.settled("unreadable", "unreadable", type(error).__name__)
        return self._identified(file, data)

    def _identified(self, file: FileToSend, data: bytes) -> ReadFile | Settled:
        digest = hashlib.sha256(data).hexdigest()
        if not _is_dicom(data) or (self.any_content and self.pseudonyms is None):
            return ReadFile(file, data, digest, file.metadata)
        identity = read_identity(data, with_patient=self.pseudonyms is not None)
        if not identity.has_pixels and not self.any_content:
            detail = f"DICOM without pixels: {identity.kind}"
            return self._passed_over(file, PassedOver("no_pixels", detail))
        if self.pseudonyms is None:
            remark = "" if "subject_id" in file.metadata else "no_key"
            return ReadFile(file, data, digest, file.metadata, remark)
        ids = self._pseudonyms_of(identity, self.pseudonyms)
        remark = self.ids.remark(file.metadata.get("subject_id"), ids.get("subject_id"))
        remark = remark or self.ids.issuer_remark(identity, self.pseudonyms)
        # What a person wrote into the table takes precedence over the header.
        return ReadFile(file, data, digest, {**ids, **file.metadata}, remark)

    def _passed_over(self, file: FileToSend, reason: PassedOver) -> Settled:
        return file.passed_over(replace(reason, failed=reason.failed or self.listed))

    @staticmethod
    def _pseudonyms_of(identity: DicomIdentity, under: Pseudonyms) -> dict[str, str]:
        subject = under.subject(identity.patient_id, identity.issuer)
        study = under.study(identity.study_uid)
        found = {"subject_id": subject, "study_id": study}
        return {name: value for name, value in found.items() if value is not None}


class IdBook:
    """Notices ids of table and header that contradict each other, over all files of a run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._headers: dict[str, str] = {}  # subject of the table -> that of the header
        self._tables: dict[str, str] = {}  # and back
        self._issuers: dict[str, set[str]] = defaultdict(set)  # patient without issuer -> issuers

    def remark(self, of_table: str | None, of_header: str | None) -> str:
        """``no_patient_id``, ``subject_conflict`` or nothing."""
        if of_table is None:
            return "" if of_header is not None else "no_patient_id"
        if of_header is None:
            return ""
        with self._lock:
            agrees = self._headers.setdefault(of_table, of_header) == of_header
            agrees &= self._tables.setdefault(of_header, of_table) == of_table
        return "" if agrees else "subject_conflict"

    def issuer_remark(self, identity: DicomIdentity, under: Pseudonyms) -> str:
        """``several_issuers`` where one PatientID stands with and without an issuer, or two."""
        bare = under.subject(identity.patient_id)
        if bare is None:
            return ""
        with self._lock:
            issuers = self._issuers[bare]
            issuers.add(under.subject(identity.patient_id, identity.issuer) or "")
            return "several_issuers" if len(issuers) > 1 else ""


def _is_dicom(data: bytes) -> bool:
    try:
        return family_of(data) == "dicom"
    except UnsupportedFormat:
        return False
