#!/usr/bin/env python3
"""Writes spec/rest-api.yaml as OpenAPI 3.0 that progenitor takes: `to_openapi3.py IN OUT`.

For the comparison of build times only. What progenitor cannot take is made to something of the same size that it
can: a query that belongs to a path becomes a part of the path, and of the answers one success and one error stay.
"""

import json
import re
import sys

import yaml


def refs(value):
    """The same with references to where OpenAPI 3 has its schemas."""
    if isinstance(value, dict):
        return {key: refs(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [refs(inner) for inner in value]
    if isinstance(value, str):
        return value.replace("#/definitions/", "#/components/schemas/")
    return value


def schema(value):
    """A schema without what only Swagger or Go know."""
    if not isinstance(value, dict):
        return value
    kept = {key: inner for key, inner in value.items() if not key.startswith("x-") and key != "example"}
    if kept.get("type") == "bool":
        kept["type"] = "boolean"
    # Formats of Go are none of JSON's.
    if kept.get("format") not in (None, "int64", "uint64", "int32", "date-time", "double"):
        del kept["format"]
    if "properties" in kept:
        kept["properties"] = {name: schema(inner) for name, inner in kept["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in kept:
            kept[key] = schema(kept[key])
    return kept


def content(value):
    return {"application/json": {"schema": schema(value)}}


def operation(path, given, named):
    parameters, body = [], None
    for name in re.findall(r"{(\w+)}", path):
        parameters.append({"name": name, "in": "path", "required": True, "schema": {"type": "string"}})
    for each in given.get("parameters", []):
        if each["in"] == "body":
            body = {"content": content(each.get("schema", {"type": "string"})), "required": True}
        elif each["in"] in ("query", "header"):
            kind = schema({"type": each.get("type", "string")})
            parameters.append({"name": each["name"], "in": each["in"], "schema": kind})
    answers = {}
    for status, answer in given["responses"].items():
        if "$ref" in answer:
            answer = named[answer["$ref"].rsplit("/", 1)[1]]
        if status[0] == "2" and not any(known[0] == "2" for known in answers):
            shape = answer.get("schema")
            answers[status] = {"description": "", **({"content": content(shape)} if shape else {})}
    if not answers:
        answers["200"] = {"description": ""}
    answers["4XX"] = {"description": "", "content": content({"$ref": "#/definitions/Refused"})}
    made = {"operationId": given["operationId"], "parameters": parameters, "responses": answers}
    for key in ("summary", "description"):
        if key in given:
            made[key] = given[key]
    if body:
        made["requestBody"] = body
    return made


def main(source, target):
    with open(source, encoding="utf-8") as file:
        given = yaml.safe_load(file)
    paths, ids = {}, set()
    for path, operations in given["paths"].items():
        made = re.sub(r"[?&](\w[\w-]*)(=([^&]*))?", r"/~\1\3", path)
        paths[made] = {method: operation(made, each, given["responses"]) for method, each in operations.items()}
        for each in paths[made].values():
            # The description uses some twice.
            while each["operationId"] in ids:
                each["operationId"] += "_again"
            ids.add(each["operationId"])
    refused = {"type": "object", "properties": {"error": {"type": "string"}, "error_code": {"type": "integer"}}}
    schemas = {name: schema(each) for name, each in given["definitions"].items()} | {"Refused": refused}
    # The description refers to some that it lacks.
    for name in re.findall(r"#/definitions/(\w+)", json.dumps(given)):
        schemas.setdefault(name, {"type": "object"})
    info = {"title": "LXD", "version": "1.0"}
    with open(target, "w", encoding="utf-8") as file:
        json.dump(refs({"openapi": "3.0.3", "info": info, "paths": paths, "components": {"schemas": schemas}}), file)


main(*sys.argv[1:])
