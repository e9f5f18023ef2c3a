"""docs/faults.md names tests that exist."""

from __future__ import annotations

import ast

from tests.cluster_faults.table import REPOSITORY, faults


def names(module: ast.Module) -> set[str]:
    """Functions, classes and variables of a module."""
    defined = {node.name for node in module.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    targets = [target for node in module.body if isinstance(node, ast.Assign) for target in node.targets]
    return defined | {target.id for target in targets if isinstance(target, ast.Name)}


def test_every_fault_has_tests_that_exist() -> None:
    listed = faults()
    assert [fault.number for fault in listed] == list(range(1, 31))
    missing = []
    for fault in listed:
        assert fault.tests, f"fault {fault.number} has no test"
        for test in fault.tests:
            file, _, name = test.partition("::")
            path = REPOSITORY / file
            known = names(ast.parse(path.read_text())) if path.is_file() else set()
            missing += [] if name in known else [f"{fault.number}: {test}"]
    assert missing == []
