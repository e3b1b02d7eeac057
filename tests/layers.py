#!/usr/bin/env python3
"""Checks that every #include in src/ points downwards, as src/LAYERS says.

    tests/layers.py [ROOT]      ROOT holds src/; the default is this repository
"""
import pathlib
import re
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
ENGINE_HEADERS = re.compile(r"^(wasm|wasmtime)(\.h|/)|^wasi\.h$")


def layers(text):
    """Maps each module to the set of modules whose headers it may include.

    Each line of LAYERS that holds more than a comment is a layer.  A module sees itself and all
    modules of the lines above; modules on one line do not see each other.
    """
    visible = {}
    above = set()
    for line in text.splitlines():
        modules = line.split("#")[0].split()
        for module in modules:
            visible[module] = above | {module}
        above.update(modules)
    return visible


def check_line(src, visible, module, line):
    """What is wrong with the #include on this line of a file of `module`, or None."""
    match = INCLUDE.match(line)
    if not match:
        return None
    bracket, path = match.groups()
    if bracket == "<":
        if ENGINE_HEADERS.match(path) and module != "engine":
            return "only engine/ includes the engine's headers"
        return None
    if not (src / path).is_file():
        return f'"{path}" is not a file of src/'
    if path.split("/")[0] not in visible[module]:
        return f"{module}/ must not include {path}"
    return None


def main(root):
    src = root / "src"
    visible = layers((src / "LAYERS").read_text())
    wrong = []
    files = [f for f in sorted(src.rglob("*.[ch]")) if "wasmtime" not in f.relative_to(src).parts]
    for file in files:
        module = file.relative_to(src).parts[0]
        if module not in visible:
            wrong.append(f"{file}: module '{module}' is not in src/LAYERS")
            continue
        for number, line in enumerate(file.read_text().splitlines(), 1):
            problem = check_line(src, visible, module, line)
            if problem:
                wrong.append(f"{file}:{number}: {problem}")
    folders = {d.name for d in src.iterdir() if d.is_dir()}
    for module in sorted(folders - set(visible)):
        wrong.append(f"src/{module} is not in src/LAYERS")
    print("\n".join(wrong) or f"{len(files)} files keep to src/LAYERS")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY))
