#!/usr/bin/env python3
"""Keeps of an OpenAPI file only the paths that match, and what those refer to.

reduce.py FROM.json TO.json REGEX...

Run it again when a provider publishes a newer file; README.md beside it has the command.
"""
import json
import re
import sys


def refs(node):
    """Every component that node refers to, as (section, name)."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str) and value.startswith("#/components/"):
                yield tuple(value.removeprefix("#/components/").split("/", 1))
            else:
                yield from refs(value)
    elif isinstance(node, list):
        for value in node:
            yield from refs(value)


def reduce(spec, patterns):
    paths = {path: item for path, item in spec["paths"].items() if any(re.search(p, path) for p in patterns)}
    components = spec.get("components", {})
    kept = {"securitySchemes": components["securitySchemes"]} if "securitySchemes" in components else {}
    todo = set(refs(paths))
    while todo:
        section, name = todo.pop()
        if name in kept.get(section, {}):
            continue
        part = components[section][name]
        kept.setdefault(section, {})[name] = part
        todo.update(refs(part))
    spec["paths"] = paths
    spec["components"] = {section: dict(sorted(parts.items())) for section, parts in sorted(kept.items())}
    return spec


if len(sys.argv) < 4:
    sys.exit(__doc__)
with open(sys.argv[1]) as f:
    small = reduce(json.load(f), sys.argv[3:])
with open(sys.argv[2], "w") as f:
    json.dump(small, f, indent=1)
    f.write("\n")
