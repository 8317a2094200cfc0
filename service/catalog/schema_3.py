"""What schema 3 adds to schema 2."""

FEWSHOT: tuple[str, ...] = ()
INTAKE: tuple[str, ...] = ()
GALLERY: tuple[str, ...] = ()

FROM_2 = (*FEWSHOT, *INTAKE, *GALLERY)
