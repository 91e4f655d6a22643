"""The options of a child process: each has the outcome that it has on asyncio's own loop."""

import asyncio
import contextlib
import errno
import functools
import os
import pathlib
import resource
import stat
import subprocess
import sys

import pytest

PIPE = subprocess.PIPE


async def output_of(*command, **options):
    process = await asyncio.create_subprocess_exec(*command, **{"stdout": PIPE} | options)
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode().split()


async def outcome_of(*command, **options):
    """Return the error that a start ends with, as a tuple that can be compared."""
    try:
        process = await asyncio.create_subprocess_exec(*command, **options)
    except Exception as error:  # noqa: BLE001  all of them are compared
        if isinstance(error, OSError):
            return type(error), str(error), error.errno, error.filename
        # Of the errors that asyncio itself finds, ours say more; its own words come first.
        return type(error), str(error).split(":")[0]
    return await process.wait()


def on_asyncio(coroutine):
    return asyncio.run(coroutine)


# --- Options that work ----------------------------------------------------------------------------


def test_programs_and_arguments_may_be_bytes_or_paths(any_loop):
    async def session():
        return await output_of(pathlib.Path("/bin/echo"), b"bytes", "text", pathlib.Path("path"))

    assert any_loop.run_until_complete(session()) == ["bytes", "text", "path"]


def test_the_program_is_not_always_the_first_argument(any_loop):
    command = ["another-name", "-c", "echo $0"]
    printed = any_loop.run_until_complete(output_of(*command, executable="/bin/sh"))
    assert printed == ["another-name"]


def test_a_shell_of_ones_own(any_loop, tmp_path):
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\necho "mine: $*"\n')
    shell.chmod(stat.S_IRWXU)

    async def session():
        process = await asyncio.create_subprocess_shell("word", stdout=PIPE, executable=shell)
        return (await process.communicate())[0]

    assert any_loop.run_until_complete(session()) == b"mine: -c word\n"


def test_the_path_that_counts_is_that_of_the_childs_environment(any_loop, tmp_path):
    for folder, word in ("empty", None), ("first", "one"), ("second", "two"):
        (tmp_path / folder).mkdir()
        if word:
            program = tmp_path / folder / "program"
            program.write_text(f"#!/bin/sh\necho {word} $NAME\n")
            program.chmod(stat.S_IRWXU)
    folders = [str(tmp_path / folder) for folder in ("missing", "empty", "first", "second")]
    env = {"PATH": os.pathsep.join(folders), b"NAME": "value"}
    printed = any_loop.run_until_complete(output_of("program", env=env))
    assert printed == ["one", "value"]


def test_without_an_environment_the_child_has_ours(any_loop, monkeypatch):
    monkeypatch.setenv("MEANTIME_TEST_WORD", "inherited")
    assert any_loop.run_until_complete(output_of("sh", "-c", "echo $MEANTIME_TEST_WORD")) == [
        "inherited"
    ]
    assert any_loop.run_until_complete(output_of("/usr/bin/env", env={})) == []


@pytest.mark.parametrize("kind", [str, os.fsencode, pathlib.Path])
def test_a_child_works_in_the_folder_it_is_given(any_loop, tmp_path, kind):
    printed = any_loop.run_until_complete(output_of("/bin/pwd", cwd=kind(str(tmp_path))))
    assert printed == [str(tmp_path.resolve())]


def test_a_child_has_no_descriptors_but_those_it_is_given(any_loop):
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    try:
        command = ["ls", "/proc/self/fd"]
        # ls itself opens the folder that it lists, as the lowest number that is free.
        none = any_loop.run_until_complete(output_of(*command))
        one = any_loop.run_until_complete(output_of(*command, pass_fds=[writer]))
        open_ones = any_loop.run_until_complete(output_of(*command, close_fds=False))
    finally:
        os.close(reader)
        os.close(writer)
    assert none == ["0", "1", "2", "3"]
    assert sorted(one) == sorted([*none, str(writer)])
    assert str(reader) in open_ones
    assert str(writer) not in open_ones


def test_pass_fds_closes_the_others_whatever_close_fds_says(any_loop):
    with pytest.warns(RuntimeWarning, match="pass_fds overriding close_fds"):
        printed = any_loop.run_until_complete(
            output_of("ls", "/proc/self/fd", pass_fds=[2], close_fds=False)
        )
    assert printed == ["0", "1", "2", "3"]


IDENTITY = "import os; print(os.getpid(), os.getsid(0), os.getpgid(0))"


@pytest.mark.parametrize(
    ("options", "leads_session", "leads_group"),
    [
        ({}, False, False),
        ({"start_new_session": True}, True, True),
        ({"process_group": 0}, False, True),
    ],
)
def test_sessions_and_groups(any_loop, options, leads_session, leads_group):
    command = [sys.executable, "-S", "-c", IDENTITY]
    pid, session, group = any_loop.run_until_complete(output_of(*command, **options))
    assert (pid == session) == leads_session
    assert (pid == group) == leads_group


@pytest.mark.parametrize("restore_signals", [True, False])
def test_signals_are_the_programs_own_again(any_loop, restore_signals):
    """Python ignores SIGPIPE; a child that did so too would write into a closed pipe for ever."""
    printed = any_loop.run_until_complete(
        output_of(
            "grep", "-E", "Sig(Blk|Ign)", "/proc/self/status", restore_signals=restore_signals
        )
    )
    blocked, ignored = (int(mask, 16) for mask in (printed[1], printed[3]))
    assert blocked == 0
    is_ignored = bool(ignored & (1 << 12))  # SIGPIPE is 13, and the lowest bit is for 1
    assert is_ignored == (not restore_signals)


def test_a_function_can_run_in_the_child_before_the_program(any_loop):
    before = functools.partial(os.write, 1, b"before ")
    printed = any_loop.run_until_complete(output_of("echo", "after", preexec_fn=before))
    assert printed == ["before", "after"]


def test_a_mask_for_new_files(any_loop):
    assert any_loop.run_until_complete(output_of("sh", "-c", "umask", umask=0o27)) == ["0027"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")
def test_another_user(any_loop):
    command = ["sh", "-c", "id -u; id -g; id -G"]
    options = {"user": 65534, "group": 65533, "extra_groups": [65532]}
    printed = any_loop.run_until_complete(output_of(*command, **options))
    assert printed == ["65534", "65533", "65533", "65532"]


def test_the_audit_hook_is_told_what_is_started(loop):
    """It may forbid the start. A hook cannot be taken off, so this one is switched off."""
    told = []
    is_on = True

    def hook(event, arguments):
        if is_on and event == "subprocess.Popen":
            told.append(arguments)

    sys.addaudithook(hook)
    env = {"PATH": os.defpath}
    try:
        loop.run_until_complete(output_of("echo", "word", cwd="/", env=env))
    finally:
        is_on = False
    assert told == [("echo", ["echo", "word"], "/", env)]


# --- Options that do not --------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A folder with files that cannot be run, each for another reason."""
    (tmp_path / "text").write_text("no program\n")
    (tmp_path / "text").chmod(stat.S_IRUSR)
    (tmp_path / "garbage").write_bytes(b"\x7fELF and nothing more\n")
    (tmp_path / "garbage").chmod(stat.S_IRWXU)
    (tmp_path / "orphan").write_text("#!/there/is/no/such/interpreter\n")
    (tmp_path / "orphan").chmod(stat.S_IRWXU)
    return tmp_path


def fail():
    raise ZeroDivisionError


CASES = {
    "a program that is missing": (["there-is-no-such-program"], {}),
    "a path that is missing": (["./there/is/no/such-program"], {}),
    "a path through a file": (["{folder}/text/program"], {}),
    "a folder": (["{folder}"], {}),
    "a file without permission": (["{folder}/text"], {}),
    "a file of no known format": (["{folder}/garbage"], {}),
    "a script without its interpreter": (["{folder}/orphan"], {}),
    "a file without permission in PATH": (["text"], {"env": {"PATH": "{folder}:/missing"}}),
    "no PATH that has it": (["cat"], {"env": {"PATH": "/missing"}}),
    "an empty name": ([""], {}),
    "a program that is no string": ([7], {}),
    "an argument that is no string": (["cat", 7], {}),
    "a null byte in an argument": (["cat", "a\0b"], {}),
    "a null byte in the name": (["c\0at"], {}),
    "arguments that are too long": (["true", "x" * (1 << 18)], {}),
    "a folder to work in that is missing": (["true"], {"cwd": "/there/is/none"}),
    "a folder to work in that is a file": (["true"], {"cwd": "{folder}/text"}),
    "a folder to work in that is no string": (["true"], {"cwd": 7}),
    "a null byte in the folder": (["true"], {"cwd": "a\0b"}),
    "a program beside a folder that are both missing": (["no-program"], {"cwd": "/there/is/none"}),
    "a variable with an equals sign": (["true"], {"env": {"A=B": "C"}}),
    "a variable that is no string": (["true"], {"env": {"A": 1}}),
    "a null byte in a variable": (["true"], {"env": {"A": "a\0b"}}),
    "two PATHs": (["true"], {"env": {"PATH": "/bin", b"PATH": b"/bin"}}),
    "a group that does not exist": (["true"], {"process_group": 4_000_000}),
    "a group that is no number": (["true"], {"process_group": "group"}),
    "a descriptor beyond all numbers": (["true"], {"pass_fds": [1 << 40]}),
    "a descriptor that is not open": (["true"], {"pass_fds": [1000]}),
    "a negative descriptor": (["true"], {"pass_fds": [-7]}),
    "a closed standard descriptor": (["true"], {"stdout": 1000}),
    "an output that is no file": (["true"], {"stdout": object()}),
    "an option that does not exist": (["true"], {"color": "red"}),
    "an option of Windows": (["true"], {"creationflags": 1}),
    "another option of Windows": (["true"], {"startupinfo": 1}),
    "a function that fails": (["true"], {"preexec_fn": fail}),
    "a user that is missing": (["true"], {"user": "there-is-nobody"}),
    "a negative user": (["true"], {"user": -5}),
    "universal newlines": (["true"], {"universal_newlines": True}),
    "text": (["true"], {"text": True}),
    "an encoding": (["true"], {"encoding": "utf-8"}),
    "errors": (["true"], {"errors": "strict"}),
    "a buffer size": (["true"], {"bufsize": 1}),
    "a shell": (["true"], {"shell": True}),
    "a name with a slash that counts from the new folder": (["./true"], {"cwd": "/bin"}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_work_fails_as_on_asyncio(loop, folder, case):
    """With the same exception, the same words, and the same file named."""
    command, options = fill_in(CASES[case], folder)
    expected = on_asyncio(outcome_of(*command, **options))
    assert loop.run_until_complete(outcome_of(*command, **options)) == expected


def fill_in(value, folder):
    """Put the folder's path into every string of a nested structure."""
    if isinstance(value, str):
        return value.replace("{folder}", str(folder))
    if isinstance(value, (list, tuple)):
        return type(value)(fill_in(item, folder) for item in value)
    if isinstance(value, dict):
        return {key: fill_in(item, folder) for key, item in value.items()}
    return value


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        (["list"], {}, "cmd must be a string"),
        ("true", {"shell": False}, "shell must be True"),
        ("true", {"universal_newlines": True}, "universal_newlines must be False"),
        ("true", {"bufsize": 4096}, "bufsize must be 0"),
        ("true", {"text": True}, "text must be False"),
        ("true", {"encoding": "utf-8"}, "encoding must be None"),
        ("true", {"errors": "strict"}, "errors must be None"),
    ],
)
def test_what_a_shell_cannot_take(any_loop, command, options, message):
    async def session():
        await asyncio.create_subprocess_shell(command, **options)

    with pytest.raises(ValueError, match=message):
        any_loop.run_until_complete(session())


def test_a_shell_takes_no_path(any_loop):
    async def session():
        await any_loop.subprocess_exec(asyncio.SubprocessProtocol, pathlib.Path("true"), shell=True)

    with pytest.raises(ValueError, match="shell must be False"):
        any_loop.run_until_complete(session())


@contextlib.contextmanager
def descriptors_left(count):
    """Leave this process so many descriptors that it can open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in pathlib.Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + count + 1, before[1]))
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        for _ in range(count):
            os.close(taken.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for fd in taken:
            os.close(fd)


def test_no_child_is_made_where_there_is_no_descriptor_for_it(loop):
    """The pipes that were made before the limit was met are closed again."""
    # What the loop opens for itself at its first run is not the matter here.
    loop.run_until_complete(asyncio.sleep(0))
    # Three pipes have six ends, and the child itself has a descriptor too.
    for count in range(7):
        with descriptors_left(count):
            outcome = loop.run_until_complete(
                outcome_of("true", stdin=PIPE, stdout=PIPE, stderr=PIPE)
            )
        assert outcome[2] == errno.EMFILE, count
