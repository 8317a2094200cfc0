"""Upload, fit and predict with the generated Python client: use.py URL KEY FOLDER."""

import json
import sys
from io import BytesIO
from pathlib import Path

from generated_client import AuthenticatedClient
from generated_client.api.classifiers import create_classifier, predict_items
from generated_client.api.collections import add_scans, create_collection
from generated_client.models import (
    AddedScansAnswer,
    AddScansFilesBody,
    ClassifierAnswer,
    NewClassifierBody,
    NewCollectionBody,
    PredictionsAnswer,
    PredictItemsFilesBody,
)
from generated_client.types import File


def main(url: str, key: str, folder: Path) -> None:
    """Print the answer to one prediction as JSON."""
    client = AuthenticatedClient(base_url=url, token=key, raise_on_unexpected_status=True)
    create_collection.sync(client=client, body=NewCollectionBody(name="python"))
    files, metadata = [], []
    for image in sorted(folder.glob("*/*.png")):
        files.append(File(BytesIO(image.read_bytes()), "image", "image/png"))
        metadata.append({"labels": {"finding": image.parent.name}})
    form = AddScansFilesBody(files=files, metadata=json.dumps(metadata))
    stored = add_scans.sync("python", client=client, body=form)
    assert isinstance(stored, AddedScansAnswer)
    assert len(stored.items) == len(files)
    wanted = NewClassifierBody(name="python", collection="python", task="finding")
    fitted = create_classifier.sync(client=client, body=wanted)
    assert isinstance(fitted, ClassifierAnswer)
    (image, *_) = sorted(folder.glob("*/*.png"))
    query = PredictItemsFilesBody(files=[File(BytesIO(image.read_bytes()), "image", "image/png")])
    answer = predict_items.sync("python", client=client, body=query)
    assert isinstance(answer, PredictionsAnswer)
    print(json.dumps(answer.to_dict()))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
