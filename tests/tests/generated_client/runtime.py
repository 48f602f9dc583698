"""What every generated client stands on: checking values against schemas, and sending requests.

Strict on purpose: a status, a slug, a member, a header or a media type that the description does not promise is a
`BrokenPromise`, as is a promised one that is missing. Standard library only.
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.parse
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

T = TypeVar("T")

# What a schema may say here; a word that is not understood would be a promise that is not checked.
ANNOTATIONS = {"description", "examples", "default", "title", "deprecated", "readOnly", "writeOnly"}
KEYWORDS = ANNOTATIONS | {
    "$ref", "type", "enum", "const", "properties", "required", "additionalProperties", "maxProperties", "items",
    "minItems", "maxItems", "minLength", "maxLength", "pattern", "format", "minimum", "maximum", "anyOf", "allOf",
}
TYPES = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")


class Misfit(Exception):
    """A value that its schema does not describe."""


class BrokenPromise(Exception):
    """An answer that the description does not describe."""


class Refusal(Exception):
    """A described answer that says no."""

    def __init__(self, operation: str, status: int, body: dict[str, Any], headers: dict[str, str]):
        super().__init__(f"{operation}: {status} {body['slug']}: {body['detail']}")
        self.status, self.slug, self.body, self.headers = status, body["slug"], body, headers


@dataclass(frozen=True)
class Answer(Generic[T]):
    """A described answer that says yes."""

    status: int
    body: T
    headers: dict[str, str]


@dataclass
class Schemas:
    """The named schemas of a description, and the checking of values against schemas."""

    named: dict[str, Any]
    patterns: dict[str, re.Pattern[str]] = field(default_factory=dict)

    def resolve(self, schema: Any) -> Any:
        """The schema itself, or the one its reference names; what stands beside a reference is annotation."""
        while "$ref" in schema:
            schema = self.named[schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def check(self, schema: Any, value: Any, at: str = "") -> None:
        """Raises a `Misfit` unless the schema describes the value, members beyond it included."""
        self._check(schema, value, at)
        known = self._members(schema, value)
        if known is not None and isinstance(value, dict):
            for name in value.keys() - known:
                raise Misfit(f"{at}/{name} is described nowhere")

    def _members(self, schema: Any, value: Any) -> set[str] | None:
        """The members an object of this schema has; `None` where it may have any."""
        schema = self.resolve(schema)
        parts = schema.get("allOf", []) + [one for one in schema.get("anyOf", []) if self._fits(one, value)]
        if not parts and "properties" not in schema:
            return None
        if schema.get("additionalProperties", False) is not False:
            return None
        known = set(schema.get("properties", {}))
        for part in parts:
            of_part = self._members(part, value)
            if of_part is None and "allOf" not in schema:
                return None
            known |= of_part or set()
        return known

    def _fits(self, schema: Any, value: Any) -> bool:
        try:
            self._check(schema, value, "")
        except Misfit:
            return False
        return True

    def _check(self, schema: Any, value: Any, at: str) -> None:
        schema = self.resolve(schema)
        types = schema.get("type", list(TYPES))
        if not any(TYPES[name](value) for name in ([types] if isinstance(types, str) else types)):
            raise Misfit(f"{at or '/'} is {json.dumps(value)[:80]} and must be of type {types}")
        if "enum" in schema and value not in schema["enum"]:
            raise Misfit(f"{at or '/'} is {json.dumps(value)[:80]} and must be one of {schema['enum']}")
        if "const" in schema and value != schema["const"]:
            raise Misfit(f"{at or '/'} is {json.dumps(value)[:80]} and must be {schema['const']}")
        for part in schema.get("allOf", []):
            self._check(part, value, at)
        self._check_any(schema, value, at)
        if isinstance(value, dict):
            self._check_object(schema, value, at)
        elif isinstance(value, list):
            self._check_list(schema, value, at)
        elif isinstance(value, str):
            self._check_text(schema, value, at)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            low, high = schema.get("minimum", value), schema.get("maximum", value)
            if not low <= value <= high:
                raise Misfit(f"{at or '/'} is {value} and must be from {low} to {high}")

    def _check_any(self, schema: Any, value: Any, at: str) -> None:
        if "anyOf" not in schema:
            return
        whys = []
        for part in schema["anyOf"]:
            try:
                return self.check(part, value, at)
            except Misfit as why:
                whys.append(str(why))
        raise Misfit(f"{at or '/'} fits none of {len(whys)}: {'; '.join(whys)}")

    def _check_object(self, schema: Any, value: dict[str, Any], at: str) -> None:
        for name in schema.get("required", []):
            if name not in value:
                raise Misfit(f"{at}/{name} is missing")
        if len(value) > schema.get("maxProperties", len(value)):
            raise Misfit(f"{at or '/'} has {len(value)} members")
        properties, rest = schema.get("properties", {}), schema.get("additionalProperties")
        for name, member in value.items():
            if name in properties:
                self.check(properties[name], member, f"{at}/{name}")
            elif isinstance(rest, dict):
                self.check(rest, member, f"{at}/{name}")

    def _check_list(self, schema: Any, value: list[Any], at: str) -> None:
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            raise Misfit(f"{at or '/'} has {len(value)} items")
        for index, item in enumerate(value):
            self.check(schema.get("items", {}), item, f"{at}/{index}")

    def _check_text(self, schema: Any, value: str, at: str) -> None:
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            raise Misfit(f"{at or '/'} has {len(value)} characters")
        if "pattern" in schema:
            pattern = self.patterns.setdefault(schema["pattern"], re.compile(schema["pattern"]))
            if not pattern.search(value):
                raise Misfit(f"{at or '/'} is {value!r} and must match {schema['pattern']}")
        reader = {"uuid": uuid.UUID, "date-time": _time, "uri": _uri}.get(schema.get("format", ""))
        if reader is not None:
            try:
                reader(value)
            except ValueError:
                raise Misfit(f"{at or '/'} is {value!r} and must be a {schema['format']}") from None


def _time(text: str) -> None:
    if not TIME.match(text):
        raise ValueError(text)
    datetime.fromisoformat(text.replace("Z", "+00:00"))


def _uri(text: str) -> None:
    if not urllib.parse.urlsplit(text).scheme:
        raise ValueError(text)


class ClientBase:
    """Sends requests and holds the answers against what is promised; generated methods call `_call`."""

    schemas: Schemas
    operations: dict[str, Any]

    def __init__(self, url: str, token: str | None = None, timeout: float = 75.0):
        self._at, self._token, self._timeout = urllib.parse.urlsplit(url), token, timeout
        # What was answered, for whoever wants to know what was tried: (operation, status, slug).
        self.answered: set[tuple[str, int, str | None]] = set()

    def _call(self, name: str, path: dict[str, Any], query: dict[str, Any], headers: dict[str, Any],
              body: Any = None, media: str | None = None) -> Answer[Any]:
        operation = self.operations[name]
        target = self._target(operation, path, query)
        sent = {key: str(value) for key, value in headers.items() if value is not None}
        self._check_parameters(operation, {**path, **query, **headers})
        data = self._body(operation, body, media, sent)
        if self._token is not None and operation["secured"]:
            sent["Authorization"] = f"Bearer {self._token}"
        connection = http.client.HTTPConnection(self._at.hostname, self._at.port, timeout=self._timeout)
        try:
            connection.request(operation["method"], target, body=data, headers=sent)
            response = connection.getresponse()
            return self._read(name, response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def _target(self, operation: Any, path: dict[str, Any], query: dict[str, Any]) -> str:
        target = self._at.path.rstrip("/") + operation["path"]
        for key, value in path.items():
            target = target.replace("{" + key + "}", urllib.parse.quote(str(value), safe=""))
        pairs = [(key, _word(item)) for key, value in query.items() if value is not None
                 for item in (value if isinstance(value, list) else [value])]
        return target + ("?" + urllib.parse.urlencode(pairs) if pairs else "")

    def _check_parameters(self, operation: Any, given: dict[str, Any]) -> None:
        for parameter in operation["parameters"]:
            value = given.get(parameter["name"])
            if value is not None:
                self.schemas.check(parameter["schema"], value, parameter["name"])

    def _body(self, operation: Any, body: Any, media: str | None, headers: dict[str, str]) -> bytes | None:
        if body is None:
            return None
        media = media or next(iter(operation["body"]))
        headers["Content-Type"] = media
        if isinstance(body, str) and media != "application/json":
            return body.encode()
        self.schemas.check(operation["body"][media], body, "body")
        return json.dumps(body).encode()

    def _read(self, name: str, status: int, headers: dict[str, str], data: bytes) -> Answer[Any]:
        promised = self.operations[name]["responses"].get(str(status))
        shown = data[:300].decode(errors="replace")
        if promised is None:
            raise BrokenPromise(f"{name}: status {status} is not described: {shown}")
        headers = {key.lower(): value for key, value in headers.items()}
        for header, is_required in promised["headers"].items():
            if is_required and header.lower() not in headers:
                raise BrokenPromise(f"{name}: {status} lacks the header {header}")
        body = self._content(f"{name}: {status}", promised["content"], headers.get("content-type", ""), data)
        slug = body["slug"] if status >= 400 else None
        self.answered.add((name, status, slug))
        if status >= 400:
            raise Refusal(name, status, body, headers)
        return Answer(status, body, headers)

    def _content(self, what: str, promised: dict[str, Any], media: str, data: bytes) -> Any:
        if not promised:
            if data:
                raise BrokenPromise(f"{what} has a body, which is not described")
            return None
        essence = media.split(";")[0].strip().lower()
        if essence not in promised:
            raise BrokenPromise(f"{what} is {essence!r}; described is {', '.join(promised)}")
        body = json.loads(data) if essence.endswith("json") else data.decode()
        try:
            self.schemas.check(promised[essence], body)
        except Misfit as why:
            raise BrokenPromise(f"{what}: {why}") from None
        return body


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
