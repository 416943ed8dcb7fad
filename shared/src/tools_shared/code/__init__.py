"""Programs judged by tests: the program in a completion, the tests in a row of data, and whether the one passes the
others. Programs are run in `tools_shared.sandbox` alone.
"""

from tools_shared.code.cases import TEST_KEYS, CallTest, CheckTest, CodeTests, IoTest, read_tests
from tools_shared.code.complete import TEST_COLUMNS, program_for, stub_of
from tools_shared.code.extract import program_in
from tools_shared.code.grade import CodeVerdict, grade_program, grade_programs

__all__ = [
    "TEST_COLUMNS",
    "TEST_KEYS",
    "CallTest",
    "CheckTest",
    "CodeTests",
    "CodeVerdict",
    "IoTest",
    "grade_program",
    "grade_programs",
    "program_for",
    "program_in",
    "read_tests",
    "stub_of",
]
