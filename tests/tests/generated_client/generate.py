"""Turns an OpenAPI 3.1 document into a typed Python client, or says everything that keeps it from being one.

    python3 generate.py openapi.json client.py

One class for every object that a schema describes, one method for every operation. The document is read strictly: a
reference that leads nowhere, an operation without an id, a parameter of the path that is not declared, a word in a
schema that would not be checked, an example that does not fit, a schema that nobody uses — each is a fault.
"""

from __future__ import annotations

import keyword
import pprint
import re
import sys
import json
from typing import Any

from runtime import KEYWORDS, Misfit, Schemas

METHODS = ["get", "put", "post", "delete", "patch", "head", "options", "trace"]
OF_OPERATION = {"operationId", "summary", "description", "tags", "parameters", "requestBody", "responses",
                "security", "deprecated"}
OF_PARAMETER = {"name", "in", "required", "description", "schema", "example", "examples", "style", "explode"}
PROBLEM = "application/problem+json"
# What a schema cannot be called, because the module uses the name itself.
TAKEN = {"Client", "SCHEMAS", "OPERATIONS", "Any", "Literal", "NotRequired", "TypedDict", "Union", "runtime"}
PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


class Generator:
    """Reads a document once, collecting faults, classes and methods."""

    def __init__(self, document: dict[str, Any]):
        self.document, self.faults, self.used = document, [], set()
        self.named = document.get("components", {}).get("schemas", {})
        self.schemas = Schemas(self.named)
        self.classes: list[str] = []
        self.methods: list[str] = []
        self.names = set(TAKEN)
        self.operations: dict[str, Any] = {}

    def run(self) -> str:
        """The module's source; raises SystemExit with every fault."""
        if not str(self.document.get("openapi", "")).startswith("3.1."):
            self.fault("openapi", "is not 3.1")
        for name, schema in self.named.items():
            self.walk(schema, f"schemas/{name}")
        if self.faults:
            self.give_up()
        for name, schema in self.named.items():
            self.examples(schema, schema, f"schemas/{name}")
            self.declare(name, schema)
        for path, item in self.document["paths"].items():
            self.path(path, item)
        for name in self.named.keys() - self.used:
            self.fault(f"schemas/{name}", "is used nowhere")
        if self.faults:
            self.give_up()
        return self.module()

    def fault(self, at: str, what: str) -> None:
        self.faults.append(f"{at}: {what}")

    def give_up(self) -> None:
        sys.exit("the description has faults:\n" + "\n".join(sorted(self.faults)))

    # Looking things up.

    def follow(self, part: Any, at: str) -> Any:
        """The part itself, or what its reference names among the components."""
        while isinstance(part, dict) and "$ref" in part:
            found: Any = self.document
            for segment in part["$ref"].removeprefix("#/").split("/"):
                found = found.get(segment) if isinstance(found, dict) else None
            if found is None:
                self.fault(at, f"{part['$ref']} names nothing")
                return {}
            part = found
        return part

    # Schemas.

    def walk(self, schema: Any, at: str) -> None:
        """Checks that every word of a schema is understood and every reference leads to a schema."""
        if not isinstance(schema, dict):
            return self.fault(at, "is no schema")
        for word in schema.keys() - KEYWORDS:
            self.fault(at, f'"{word}" is a word that would not be checked')
        if "$ref" in schema:
            name = schema["$ref"].removeprefix("#/components/schemas/")
            self.used.add(name)
            if name not in self.named:
                self.fault(at, f"{schema['$ref']} names nothing")
        for name in set(schema.get("required", [])) - set(schema.get("properties", {})):
            self.fault(at, f'"{name}" is required and not described')
        if "pattern" in schema:
            re.compile(schema["pattern"])
        for key, part in schema.get("properties", {}).items():
            self.walk(part, f"{at}/{key}")
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                self.walk(schema[key], f"{at}/{key}")
        for key in ("anyOf", "allOf"):
            for index, part in enumerate(schema.get(key, [])):
                self.walk(part, f"{at}/{key}/{index}")

    def examples(self, schema: Any, whole: Any, at: str) -> None:
        """Checks that every example in a schema, however deep, fits where it stands."""
        for index, example in enumerate(schema.get("examples", [])):
            try:
                self.schemas.check(schema, example)
            except Misfit as why:
                self.fault(at, f"example {index}: {why}")
        for key, part in schema.get("properties", {}).items():
            self.examples(part, whole, f"{at}/{key}")
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                self.examples(schema[key], whole, f"{at}/{key}")

    def declare(self, name: str, schema: Any) -> None:
        """Writes the class or the alias that stands for a named schema."""
        note = f"# {schema['description']}\n" if schema.get("description") else ""
        if schema.get("type") == "object" and "properties" in schema:
            self.typed_dict(name, schema)
        else:
            self.name(name)
            self.classes.append(f"{note}{name} = {self.python_type(schema, name)}\n")

    def name(self, name: str) -> None:
        if name in self.names:
            self.fault(f"schemas/{name}", "is the name of something else as well")
        self.names.add(name)

    def typed_dict(self, name: str, schema: Any) -> None:
        self.name(name)
        required, members = schema.get("required", []), []
        for key, part in schema["properties"].items():
            kind = self.python_type(part, name + camel(key))
            members.append((key, kind if key in required else f"NotRequired[{kind}]"))
        if all(key.isidentifier() and not keyword.iskeyword(key) for key, _ in members):
            lines = [f"    {key}: {kind}" for key, kind in members]
            self.classes.append(f"class {name}(TypedDict):\n" + "\n".join(lines) + "\n")
        else:
            lines = ", ".join(f'"{key}": "{kind}"' for key, kind in members)
            self.classes.append(f'{name} = TypedDict("{name}", {{{lines}}})\n')

    def python_type(self, schema: Any, name: str) -> str:
        """The type of a value, as an annotation; an object described in place becomes a class of its own."""
        if "$ref" in schema:
            return schema["$ref"].rsplit("/", 1)[1]
        if "enum" in schema:
            return f"Literal[{', '.join(repr(value) for value in schema['enum'])}]"
        if "anyOf" in schema:
            parts = [self.python_type(part, f"{name}{index or ''}")
                     for index, part in enumerate(schema["anyOf"])]
            return "Union[" + ", ".join(dict.fromkeys(parts)) + "]"
        kinds = schema.get("type")
        if isinstance(kinds, list):
            return "Union[" + ", ".join(self.python_type({**schema, "type": kind}, name) for kind in kinds) + "]"
        if kinds == "array":
            return f"list[{self.python_type(schema.get('items', {}), name + 'Item')}]"
        if kinds == "object" and "properties" in schema:
            self.typed_dict(name, schema)
            return name
        if kinds == "object":
            rest = schema.get("additionalProperties")
            inner = self.python_type(rest, name + "Value") if isinstance(rest, dict) else "Any"
            return f"dict[str, {inner}]"
        return PLAIN.get(kinds, "Any")

    # Operations.

    def path(self, path: str, item: Any) -> None:
        for method, operation in item.items():
            at = f"{method.upper()} {path}"
            if method not in METHODS:
                self.fault(at, "is no method")
                continue
            for word in operation.keys() - OF_OPERATION:
                self.fault(at, f'"{word}" is a word that would not be checked')
            self.operation(at, path, method, operation)

    def operation(self, at: str, path: str, method: str, operation: Any) -> None:
        name = operation.get("operationId", "")
        if not re.fullmatch(r"[a-z][a-zA-Z0-9]*", name) or name in self.operations:
            return self.fault(at, f'"{name}" is no operationId of its own')
        if not operation.get("summary") or not operation.get("tags"):
            self.fault(at, "says not what it is for")
        parameters = [self.parameter(part, at) for part in operation.get("parameters", [])]
        in_path = {part["name"] for part in parameters if part["in"] == "path"}
        if in_path != set(re.findall(r"{(\w+)}", path)):
            self.fault(at, f"the path's parameters are not those that are described: {sorted(in_path)}")
        body, has_to_be = self.request_body(operation, at)
        security = operation.get("security", self.document.get("security", []))
        self.operations[name] = {
            "method": method.upper(), "path": path, "secured": bool(security), "body": body,
            "parameters": [{"name": part["name"], "schema": part["schema"]} for part in parameters],
            "responses": {status: self.response(status, part, f"{at} {status}")
                          for status, part in operation.get("responses", {}).items()},
        }
        if not any(status.startswith("2") for status in self.operations[name]["responses"]):
            self.fault(at, "has no answer that says yes")
        self.method(name, operation, parameters, body, has_to_be)

    def parameter(self, part: Any, at: str) -> Any:
        part = self.follow(part, at)
        for word in part.keys() - OF_PARAMETER:
            self.fault(at, f'parameter {part.get("name")}: "{word}" is a word that would not be checked')
        self.walk(part.get("schema"), f"{at} {part.get('name')}")
        self.examples(part.get("schema", {}), {}, f"{at} {part.get('name')}")
        if part.get("in") == "path" and not part.get("required"):
            self.fault(at, f"{part.get('name')} is in the path and not required")
        return part

    def request_body(self, operation: Any, at: str) -> tuple[dict[str, Any], bool]:
        if "requestBody" not in operation:
            return {}, False
        part = self.follow(operation["requestBody"], at)
        return self.content(part.get("content", {}), f"{at} body"), part.get("required", False)

    def response(self, status: str, part: Any, at: str) -> Any:
        part = self.follow(part, at)
        if not part.get("description"):
            self.fault(at, "has no description")
        content = self.content(part.get("content", {}), at)
        if status.startswith(("4", "5")):
            self.problem(int(status), content, at)
        headers = {}
        for name, header in part.get("headers", {}).items():
            header = self.follow(header, at)
            self.walk(header.get("schema"), f"{at} {name}")
            headers[name] = header.get("required", False)
        return {"content": content, "headers": headers}

    def problem(self, status: int, content: dict[str, Any], at: str) -> None:
        """An answer that says no is a problem whose slugs are listed."""
        if list(content) != [PROBLEM]:
            return self.fault(at, f"is not {PROBLEM}")
        parts = self.follow(content[PROBLEM], at).get("allOf", [])
        slugs = [part["properties"]["slug"].get("enum") for part in parts if "properties" in part]
        if not any(slugs):
            self.fault(at, "does not list the slugs it is answered with")

    def content(self, content: Any, at: str) -> dict[str, Any]:
        for media, part in content.items():
            self.walk(part.get("schema"), f"{at} {media}")
            named = [example.get("value") for example in part.get("examples", {}).values()]
            for example in named + ([part["example"]] if "example" in part else []):
                try:
                    self.schemas.check(part["schema"], example)
                except Misfit as why:
                    self.fault(f"{at} {media}", f"example: {why}")
        return {media: part["schema"] for media, part in content.items()}

    def method(self, name: str, operation: Any, parameters: list[Any], body: Any, has_to_be: bool) -> None:
        """Writes the method of an operation: path and body by place, everything else by name."""
        places = {place: [part for part in parameters if part["in"] == place] for place in ("path", "query", "header")}
        signature = ["self"] + [f"{snake(part['name'])}: {self.annotation(part)}" for part in places["path"]]
        if body:
            kind = " | ".join(dict.fromkeys(
                "str" if media.endswith("yaml") else self.python_type(schema, camel(name) + "Body")
                for media, schema in body.items()))
            signature.append(f"body: {kind}" if has_to_be else f"body: {kind} | None = None")
        options = [f"{snake(part['name'])}: {self.annotation(part)} | None = None"
                   for part in places["query"] + places["header"]]
        options += [f"media: str | None = None"] if len(body) > 1 else []
        signature += ["*"] + options if options else []
        answers = [schema for status, answer in self.operations[name]["responses"].items() if status.startswith("2")
                   for schema in answer["content"].values()]
        kinds = dict.fromkeys(self.python_type(schema, camel(name) + "Answer") for schema in answers)
        arguments = [repr(name)] + [
            "{" + ", ".join(f"{part['name']!r}: {snake(part['name'])}" for part in places[place]) + "}"
            for place in ("path", "query", "header")]
        arguments += ["body"] if body else []
        arguments += ["media"] if len(body) > 1 else []
        self.methods.append(
            f"    def {snake(name)}({', '.join(signature)}) -> runtime.Answer[{' | '.join(kinds) or 'None'}]:\n"
            f'        """{operation["summary"]}."""\n'
            f"        return self._call({', '.join(arguments)})\n")

    def annotation(self, parameter: Any) -> str:
        return self.python_type(parameter["schema"], camel(parameter["name"]) + "Parameter")

    def module(self) -> str:
        title = self.document["info"]["title"]
        head = (f'"""A client of {title}, generated from its description."""\n\n'
                "from __future__ import annotations\n\n"
                "from typing import Any, Literal, NotRequired, TypedDict, Union\n\n"
                "import runtime\n\n")
        tables = (f"SCHEMAS = runtime.Schemas({pprint.pformat(self.named, width=110, sort_dicts=False)})\n\n"
                  f"OPERATIONS = {pprint.pformat(self.operations, width=110, sort_dicts=False)}\n\n")
        client = ("\nclass Client(runtime.ClientBase):\n    \"\"\"Every operation of the description.\"\"\"\n\n"
                  "    schemas, operations = SCHEMAS, OPERATIONS\n\n" + "\n".join(self.methods))
        return head + "\n\n".join(self.classes) + "\n\n" + tables + client


def camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^a-zA-Z0-9]", name))


def snake(name: str) -> str:
    plain = re.sub(r"[^a-zA-Z0-9]", "_", name)
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", plain).lower()


def main() -> None:
    source, target = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        document = json.load(file)
    module = Generator(document).run()
    with open(target, "w", encoding="utf-8") as file:
        file.write(module)


if __name__ == "__main__":
    main()
