"""Pages of the reference, from the OpenAPI document: one per group of routes, and the shapes."""

import json
from collections import defaultdict
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
SHAPES = "shapes"
PREFIX = "#/components/schemas/"
BOUNDS = (
    ("minimum", "at least {}"),
    ("exclusiveMinimum", "above {}"),
    ("maximum", "at most {}"),
    ("exclusiveMaximum", "below {}"),
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minItems", "at least {} items"),
    ("maxItems", "at most {} items"),
)


def reference_pages(openapi: str) -> tuple[dict[str, str], dict[str, str]]:
    """The pages by their name, and ``GET /v1/...`` -> its place from the root of the sources."""
    document: Json = json.loads(openapi)
    groups: dict[str, list[tuple[str, str, Json]]] = defaultdict(list)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["service"])[0]
            groups[tag].append((method.upper(), path, operation))
    pages = {f"{SHAPES}.md": _shapes(document["components"]["schemas"])}
    pages |= {"index.md": _index(document, groups), "openapi.json": openapi}
    anchors = {}
    for tag, operations in groups.items():
        text = "".join(_operation(method, path, o) for method, path, o in operations)
        pages[f"{tag}.md"] = f"# Routes: {tag}\n\n{text}"
        for method, path, operation in operations:
            anchors[f"{method} {path}"] = f"reference/{tag}.md#{_anchor(operation)}"
    return pages, anchors


def _index(document: Json, groups: dict[str, list[tuple[str, str, Json]]]) -> str:
    lines = [
        "# Reference of the API",
        "",
        f"Every route of version {document['info']['version']} with its parameters, bodies and "
        "answers, made from [openapi.json](openapi.json). The [API page](../api.md) explains them. "
        "A running service shows the same at `/docs`.",
        "",
        "| route | does |",
        "|---|---|",
    ]
    for tag, operations in groups.items():
        lines += [
            f"| [`{method} {path}`]({tag}.md#{_anchor(o)}) | {_title(o)} |"
            for method, path, o in operations
        ]
    entries = [*groups, SHAPES]
    return "\n".join(
        [*lines, "", "```{toctree}", ":hidden:", ":titlesonly:", "", *entries, "```", ""]
    )


def _anchor(operation: Json) -> str:
    return "route-" + str(operation["operationId"]).replace("_", "-")


def _title(operation: Json) -> str:
    return str(operation.get("summary") or operation["operationId"].replace("_", " "))


def _operation(method: str, path: str, operation: Json) -> str:
    lines = [f"({_anchor(operation)})=", f"## `{method} {path}`", "", f"{_title(operation)}."]
    if operation.get("description"):
        lines += ["", _prose(operation["description"])]
    if operation.get("parameters"):
        lines += ["", "| parameter | in | type | meaning |", "|---|---|---|---|"]
        for parameter in operation["parameters"]:
            name = f"`{parameter['name']}`" + (" (required)" if parameter.get("required") else "")
            meaning = _prose(parameter.get("description", ""))
            kind = _type(parameter["schema"])
            lines.append(f"| {name} | {parameter['in']} | {kind} | {_cell(meaning)} |")
    body = operation.get("requestBody")
    if body:
        lines += ["", "Body" + ("" if body.get("required") else " (optional)") + ":", ""]
        lines += _contents(body["content"])
    lines += ["", "| status | answer | shape |", "|---|---|---|"]
    for status, answer in operation["responses"].items():
        shapes = ", ".join(
            _type(content["schema"]) if content.get("schema") else f"`{media}`"
            for media, content in answer.get("content", {}).items()
        )
        lines.append(f"| {status} | {_cell(_prose(answer.get('description', '')))} | {shapes} |")
    return "\n".join([*lines, "", ""])


def _contents(contents: Json) -> list[str]:
    lines = []
    for media, content in contents.items():
        schema = content.get("schema", {})
        if schema.get("properties"):
            lines += [f"- `{media}` with the parts"]
            required = schema.get("required", [])
            for name, part in schema["properties"].items():
                inner = part.get("contentSchema")
                kind = f"JSON: {_type(inner)}" if inner else _type(part)
                need = ", required" if name in required else ""
                says = _prose(part.get("description", ""))
                lines.append(f"  - `{name}` ({kind}{need}) {says}".rstrip())
        else:
            lines.append(f"- `{media}`: {_type(schema)}")
    return lines


def _shapes(schemas: Json) -> str:
    lines = ["# Shapes", "", "The objects that requests and answers hold, by name.", ""]
    for name, schema in sorted(schemas.items()):
        lines += [f"(shape-{name.lower()})=", f"## {name}", ""]
        if schema.get("description"):
            lines += [_prose(schema["description"]), ""]
        if not schema.get("properties"):
            lines += [f"Type: {_type(schema)}", ""]
            continue
        lines += ["| field | type | meaning |", "|---|---|---|"]
        for field, part in schema["properties"].items():
            need = " (required)" if field in schema.get("required", []) else ""
            says = _cell(_prose(part.get("description", "")))
            lines.append(f"| `{field}`{need} | {_type(part)} | {says} |")
        lines.append("")
    return "\n".join(lines)


def _type(schema: Json) -> str:
    """A schema in words, for a cell of a table."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(PREFIX)
        return f"[{name}](/reference/{SHAPES}.md#shape-{name.lower()})"
    for joiner in ("anyOf", "oneOf"):
        if joiner in schema:
            return " or ".join(dict.fromkeys(_type(part) for part in schema[joiner]))
    if "allOf" in schema:
        return " and ".join(_type(part) for part in schema["allOf"])
    if "const" in schema:
        return _code(json.dumps(schema["const"]))
    if "enum" in schema:
        return " or ".join(_code(json.dumps(value)) for value in schema["enum"])
    return _basic(schema)


def _basic(schema: Json) -> str:
    kind = schema.get("type", "anything")
    words = str(kind)
    if kind == "array":
        words = f"list of {_type(schema.get('items', {}))}"
    elif kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        words = f"object of {_type(schema['additionalProperties'])}"
    elif schema.get("format"):
        words = f"{kind} ({schema['format']})"
    limits = [text.format(schema[name]) for name, text in BOUNDS if name in schema]
    if "pattern" in schema:
        limits.append(f"pattern {_code(schema['pattern'])}")
    if schema.get("default") is not None:
        limits.append(f"default {_code(json.dumps(schema['default']))}")
    return ", ".join([words, *limits])


def _code(text: str) -> str:
    """Text as code in a cell, whatever it holds."""
    ticks = "``" if "`" in text else "`"
    return f"{ticks}{text.replace('|', chr(92) + '|')}{ticks}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _prose(text: str) -> str:
    """A docstring on one line, without what Markdown would take for HTML or emphasis."""
    line = " ".join(text.split())
    for sign in ("<", "["):
        line = line.replace(sign, "\\" + sign) if "`" not in line else line
    return line
