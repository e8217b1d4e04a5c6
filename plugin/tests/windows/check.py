"""What can be said of plugin/windows.ps1 without running it.

Parses PowerShell scripts with tree-sitter, and the plug-in's compiled part with
Mono's C# compiler where there is one. Prints a line per check, then a summary in
the form of `cargo test`. Exit status 1 if a check failed.

Usage: check.py PLUGIN SCRIPT...   (the other scripts are parsed only)
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tree_sitter
import tree_sitter_powershell

PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))

# Commands that show what they are given, in a process list, a transcript or a
# log, or that run text as a script.
FORBIDDEN = {
    "cmd", "cmd.exe", "convertto-securestring", "iex", "invoke-expression", "net", "net.exe",
    "net1", "new-localuser", "set-localuser", "start-process", "start-transcript", "write-debug",
    "write-host", "write-information", "write-output", "write-verbose", "write-warning",
}


def faults(source: bytes) -> list[str]:
    """The places that are not PowerShell."""
    found = []
    waiting = [PARSER.parse(source).root_node]
    while waiting:
        node = waiting.pop()
        if node.type == "ERROR" or node.is_missing:
            found.append(f"line {node.start_point[0] + 1}: not PowerShell")
        elif node.has_error:
            waiting.extend(node.children)
    return found


def forbidden(source: bytes) -> list[str]:
    """The commands that must not be used."""
    found = []
    waiting = [PARSER.parse(source).root_node]
    while waiting:
        node = waiting.pop()
        waiting.extend(node.children)
        if node.type == "command_name":
            name = source[node.start_byte : node.end_byte].decode("ascii", "replace").lower()
            if name in FORBIDDEN:
                found.append(f"line {node.start_point[0] + 1}: {name}")
    return found


def not_ascii(source: bytes) -> list[str]:
    """The lines with other characters than printable ASCII."""
    lines = source.split(b"\n")
    return [f"line {n}: not ASCII" for n, line in enumerate(lines, 1) if re.search(rb"[^\x20-\x7e]", line)]


def compiled(source: bytes) -> list[str] | None:
    """What the C# 5 compiler says; None where there is no compiler."""
    compiler = shutil.which("mcs")
    if compiler is None:
        return None
    text = source.decode("ascii", "replace")

    def part(name: str) -> str:
        return re.search(rf"\$script:{name} = @'\n(.*?)\n'@", text, re.S).group(1)

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "part.cs")
        file.write_text(part("FrameworkSource") + "\n" + part("CommonSource"))
        command = [compiler, "-langversion:5", "-target:library", "-reference:System.Core", f"-out:{folder}/part.dll", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else (done.stdout + done.stderr).strip().split("\n")


def main() -> int:
    plugin, *others = [Path(name) for name in sys.argv[1:]]
    source = plugin.read_bytes()
    compiler = compiled(source)
    checks = [(f"{path.name} is PowerShell", faults(path.read_bytes())) for path in [plugin, *others]]
    checks += [
        (f"{plugin.name} is ASCII", not_ascii(source)),
        (f"{plugin.name} uses no command that shows secrets", forbidden(source)),
        # The checks themselves must be able to fail.
        ("a missing brace is noticed", [] if faults(source + b"\nif ($true) {\n") else ["it is not"]),
        ("another character is noticed", [] if not_ascii(source + b"# \xc3\xa9\n") else ["it is not"]),
        ("a forbidden command is noticed", [] if forbidden(source + b"\nInvoke-Expression $x\n") else ["it is not"]),
    ]
    if compiler is None:
        print("mcs is not on this machine: the compiled part of the plug-in was NOT compiled")
    else:
        checks.append((f"the compiled part of {plugin.name} is C# 5", compiler))
    failed = 0
    for name, problems in checks:
        print(f"test {name} ... {'FAILED' if problems else 'ok'}")
        for problem in problems:
            print(f"    {problem}")
        failed += bool(problems)
    result = "FAILED" if failed else "ok"
    print(f"test result: {result}. {len(checks) - failed} passed; {failed} failed; 0 ignored")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
