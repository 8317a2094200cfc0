"""What schema 3 adds to schema 2."""

FEWSHOT: tuple[str, ...] = (
    "ALTER TABLE classifier_versions ADD COLUMN kind TEXT NOT NULL DEFAULT 'single_label'",
)
INTAKE: tuple[str, ...] = ()
GALLERY: tuple[str, ...] = ()

FROM_2 = (*FEWSHOT, *INTAKE, *GALLERY)
