"""A program of somebody who installed the client alone: program.py URL KEY FOLDER."""

import asyncio
import sys
from pathlib import Path

from sonoprobe_client import ApiError, AsyncClient, Client, ItemsError, MachineLogin
from sonoprobe_client.bodies import ScanMetadata
from sonoprobe_client.models import PredictionItem


def teach(url: str, key: str, folder: Path) -> float | None:
    """Upload a folder with one sub-folder per class, fit, and return the balanced accuracy."""
    files = sorted(folder.glob("*/*.png"))
    metadata: list[ScanMetadata] = [{"labels": {"finding": file.parent.name}} for file in files]
    with Client(url, key=key) as client:
        client.create_collection("liver")
        added = client.add_scans("liver", files, metadata, on_progress=lambda done, total: None)
        try:
            scans = [item.scan for item in added.raise_for_items()]
        except ItemsError as error:
            raise SystemExit(str(error.failed)) from error
        assert all(scan is not None for scan in scans)
        classifier = client.fit({"name": "finding", "collection": "liver", "task": "finding"})
        first = scans[0].scan_id if scans[0] is not None else ""
        for hit in client.search("liver", {"scan_id": first, "k": 2}).items:
            print(hit.scan.scan_id, f"{hit.score:.3f}", hit.scan.labels)
        return None if classifier.report is None else classifier.report.balanced_accuracy


async def use(url: str, key: str, folder: Path) -> list[PredictionItem]:
    """Predict all files of the folder."""
    async with AsyncClient(url, key=key) as client:
        answer = await client.predict("finding", folder.glob("*/*.png"), coverage=0.8)
        return answer.raise_for_items()


def sign_in(url: str, issuer: str, key: str) -> Client:
    """As a machine with a key of its own."""
    return Client(url, login=MachineLogin(issuer, "ward-3", key, scope="predict"))


if __name__ == "__main__":
    try:
        print(teach(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
        for item in asyncio.run(use(sys.argv[1], sys.argv[2], Path(sys.argv[3]))):
            print(item.decision, item.most_probable)
    except ApiError as error:
        raise SystemExit(f"{error.code}: {error}") from error
