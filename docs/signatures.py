"""Extension of mkdocstrings: pydantic classes get the signature that they have, with types and defaults.

griffe reads source code and knows the signatures of functions and dataclasses only; griffe-pydantic lists fields with
their validators, and fails on `__hash__ = None`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import griffe

PACKAGE = "langchain_wan"
EMPTY = {"dict": "{}", "list": "[]", "tuple": "()"}


class PydanticSignatures(griffe.Extension):
    """Builds `__init__` from the fields of a class and of its base classes in the package."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Do so when everything is loaded."""
        if pkg.name == PACKAGE:
            for class_ in find_classes(pkg):
                if is_model(class_) and not has_signature(class_):
                    add_signature(class_)


def has_signature(class_: griffe.Class) -> bool:
    """Say whether a class says what it takes; one that takes any keywords only hands them on."""
    init = class_.members.get("__init__")
    own = init.parameters if isinstance(init, griffe.Function) else ()
    return any(each.name != "self" and each.kind is not griffe.ParameterKind.var_keyword for each in own)


def find_classes(module: griffe.Module) -> Iterator[griffe.Class]:
    """Yield the classes of a module and of its submodules."""
    for member in module.members.values():
        if isinstance(member, griffe.Module):
            yield from find_classes(member)
        elif isinstance(member, griffe.Class):
            yield member


def is_model(class_: griffe.Class) -> bool:
    """Say whether a class is a pydantic model, as far as its base classes in the package say so."""
    paths = [base.canonical_path for base in class_.bases if isinstance(base, griffe.Expr)]
    return "pydantic.BaseModel" in paths or any(is_model(base) for base in find_bases(class_))


def find_bases(class_: griffe.Class) -> Iterator[griffe.Class]:
    """Yield the base classes that are in the package."""
    for base in class_.bases:
        path = base.canonical_path if isinstance(base, griffe.Expr) else ""
        if path.startswith(f"{PACKAGE}."):
            target = class_.modules_collection[path]
            if isinstance(target, griffe.Class):
                yield target


def add_signature(class_: griffe.Class) -> None:
    """Give a class its `__init__`, and its fields their plain types and defaults."""
    fields = dict(find_fields(class_))
    self = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
    parameters = [
        griffe.Parameter(name, annotation=annotation, kind=griffe.ParameterKind.keyword_only, default=default)
        for name, (annotation, default) in fields.items()
    ]
    init = griffe.Function("__init__", parameters=griffe.Parameters(self, *parameters), parent=class_)
    class_.set_member("__init__", init)
    for name, (annotation, default) in fields.items():
        field = class_.members.get(name)
        if isinstance(field, griffe.Attribute):
            field.annotation, field.value = annotation, default


def find_fields(class_: griffe.Class) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield name, type and default of each field, the class's own first."""
    for name, member in class_.members.items():
        is_field = isinstance(member, griffe.Attribute) and member.annotation is not None
        if is_field and "property" not in member.labels and not name.startswith(("_", "model_")):
            yield name, (simplify(member.annotation), read_constant(read_default(member.value)))
    for base in find_bases(class_):
        yield from (field for field in find_fields(base) if field[0] not in class_.members)


def simplify(annotation: Any) -> Any:
    """Return a type without the validators that `Annotated` gives it."""
    if isinstance(annotation, griffe.ExprSubscript):
        if annotation.canonical_path == "typing.Annotated" and isinstance(annotation.slice, griffe.ExprTuple):
            return simplify(annotation.slice.elements[0])
        return dataclasses.replace(annotation, slice=simplify(annotation.slice))
    if isinstance(annotation, griffe.ExprTuple):
        return dataclasses.replace(annotation, elements=[simplify(element) for element in annotation.elements])
    if isinstance(annotation, griffe.ExprBinOp):
        left, right = simplify(annotation.left), simplify(annotation.right)
        return dataclasses.replace(annotation, left=left, right=right)
    return annotation


def read_default(value: Any) -> Any:
    """Return the default that a field has, or None where it must be given."""
    if not (isinstance(value, griffe.ExprCall) and value.canonical_path == "pydantic.Field"):
        return value
    named = {each.name: each.value for each in value.arguments if isinstance(each, griffe.ExprKeyword)}
    factory = named.get("default_factory")
    if isinstance(factory, griffe.ExprLambda):
        return factory.body
    if factory is not None:
        return EMPTY.get(str(factory)) or griffe.ExprCall(factory, [])
    positional = [each for each in value.arguments if not isinstance(each, griffe.ExprKeyword)]
    return named.get("default", positional[0] if positional else None)


def read_constant(default: Any) -> Any:
    """Return the number or text that a constant of the package names."""
    path = default.canonical_path if isinstance(default, griffe.ExprName) else ""
    if path.startswith(f"{PACKAGE}.") and path.rpartition(".")[2].isupper():
        return default.parent.modules_collection[path].value
    return default
