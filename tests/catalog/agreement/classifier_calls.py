"""Random calls about classifiers and what they learnt from."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import rule

from service.catalog.records import Author, NewExample, NewVersion
from tests.catalog.agreement.both_engines import Refusal
from tests.catalog.agreement.odd_values import (
    DIM,
    any_json,
    good_names,
    json_objects,
    mostly,
    names,
    owners,
    vectors,
)
from tests.catalog.agreement.scan_calls import (
    ScanCalls,
    collections,
    numbers,
    owner_numbers,
    pages,
    versions,
)

classifiers = mostly(st.sampled_from(["k", "k", "é"]), names, of=10)
examples = st.lists(
    st.tuples(
        st.sampled_from(["scan", "scan", "upload", "upload", "known"]),
        mostly(good_names, names, of=10),
        numbers,
        owners,
        owners,
        vectors(),
    ),
    max_size=4,
)
new_versions = st.builds(
    NewVersion,
    encoder_id=st.just("enc_1"),
    classes=st.lists(mostly(good_names, names, of=10), max_size=2).map(tuple),
    artifact=st.sampled_from([b"", b"PK\0\xff"]),
    report=any_json,
    settings=json_objects,
    out_of_fold=st.sampled_from([b"", b"scores"]),
    author=st.sampled_from([Author(), Author("key_1", "clinic é")]),
    kind=st.sampled_from(["single_label", "multi_label"]),
)
version_numbers = mostly(st.sampled_from([1, 1, 2, 3]), st.sampled_from([0, -1, 2**62]))


class ClassifierCalls(ScanCalls):
    """Classifiers over the scans of ``ScanCalls``."""

    example_ids: list[str]

    def _version(self, version: NewVersion, drawn: Any) -> NewVersion:
        known = [*getattr(self, "example_ids", []), "exm_none"]
        made = []
        for kind, label, number, subject_id, study_id, vector in drawn:
            if kind == "scan":
                example = NewExample(label, number, scan=("lungs", self.scan_id(number)))
            elif kind == "upload":
                example = NewExample(label, number, None, None, "sha", subject_id, study_id, vector)
            else:
                example = NewExample(label, number, example_id=known[number % len(known)])
            made.append(example)
        fields = ("encoder_id", "classes", "artifact", "report", "settings", "out_of_fold")
        values = {name: getattr(version, name) for name in fields}
        return NewVersion(**values, examples=tuple(made), author=version.author, kind=version.kind)

    @rule(owner=owner_numbers, name=classifiers, version=new_versions, drawn=examples)
    def create_classifier(self, owner: int, name: str, version: NewVersion, drawn: Any) -> None:
        self.ask("create_classifier", owner, name, self._version(version, drawn))
        self._learn(owner, name, 1)

    @rule(
        owner=owner_numbers,
        name=classifiers,
        version=new_versions,
        drawn=examples,
        publish=st.booleans(),
        revision=versions,
        gone=st.sampled_from([0, 1, 9, 9]),
    )
    def add_version(
        self,
        owner: int,
        name: str,
        version: NewVersion,
        drawn: Any,
        publish: bool,
        revision: Any,
        gone: int,
    ) -> None:
        new = self._version(version, drawn)
        options = {"publish": publish, "if_revision": revision, "gone": gone}
        added = self.ask("add_version", owner, name, new, **options)
        if not isinstance(added, Refusal):
            self._learn(owner, name, added[1].number)

    def _learn(self, owner: int, name: str, number: int) -> None:
        """Read the examples back, and remember their ids."""
        found = self.ask("version_examples", owner, name, number)
        self.ask("version_embeddings", owner, name, number, dim=DIM)
        if not isinstance(found, Refusal):
            ids = [example.example_id for example in found]
            self.example_ids = [*getattr(self, "example_ids", []), *ids]

    @rule(owner=owner_numbers, name=classifiers, number=version_numbers, revision=versions)
    def publish_version(self, owner: int, name: str, number: int, revision: Any) -> None:
        self.ask("publish_version", owner, name, number, if_revision=revision)

    @rule(owner=owner_numbers, name=classifiers, number=version_numbers, limit=pages)
    def read_classifier(self, owner: int, name: str, number: int, limit: int) -> None:
        self.ask("get_classifier", owner, name)
        self.ask("get_version", owner, name, number)
        self.ask("list_versions", owner, name, limit=limit)
        self.ask("list_versions", owner, name, limit=limit, before=number)
        self.ask("version_examples", owner, name, number, after=0, limit=limit)
        self.ask("version_embeddings", owner, name, number, dim=DIM)

    @rule(owner=owner_numbers, limit=pages, after=mostly(st.none(), names, of=2))
    def list_classifiers(self, owner: int, limit: int, after: str | None) -> None:
        self.ask("list_classifiers", owner, limit=limit, after=after)

    @rule(owner=owner_numbers, name=classifiers, revision=versions)
    def delete_classifier(self, owner: int, name: str, revision: Any) -> None:
        self.ask("delete_classifier", owner, name, if_revision=revision)
        self.ask("forgettings", owner)

    # moving to another encoder ----------------------------------------------------------------

    @rule(
        owner=owner_numbers,
        collection=collections,
        encoder=st.sampled_from(["enc_1", "enc_2", "enc_2", "enc_3"]),
        dim=st.sampled_from([2, 2, 5]),
    )
    def begin_reembedding(self, owner: int, collection: str, encoder: str, dim: int) -> None:
        self.ask("begin_reembedding", owner, collection, encoder_id=encoder, dim=dim)

    @rule(
        owner=owner_numbers,
        collection=collections,
        limit=pages,
        dim=st.sampled_from([2, 2, 2, 5, DIM]),
        number=numbers,
    )
    def stage_vectors(self, owner: int, collection: str, limit: int, dim: int, number: int) -> None:
        todo = self.ask("images_to_embed", owner, collection, limit=limit)
        rows = [] if isinstance(todo, Refusal) else [row_id for row_id, _ in todo]
        rows = [*rows, self.row_id(number)][: max(1, len(rows))]
        staged_ND = np.full((len(rows), dim), number / 3, np.float32)
        self.ask("stage_vectors", owner, collection, rows, staged_ND)
        self.ask("get_reembedding", owner, collection)

    @rule(owner=owner_numbers, collection=collections)
    def switch_reembedding(self, owner: int, collection: str) -> None:
        self.ask("switch_reembedding", owner, collection)
        self.ask("export_rows", owner, collection, limit=100)

    @rule(owner=owner_numbers, collection=collections)
    def end_reembedding(self, owner: int, collection: str) -> None:
        self.ask("end_reembedding", owner, collection)
        self.ask("get_collection", owner, collection)
