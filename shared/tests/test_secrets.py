import click
import pytest

from tools_shared.addresses import shown_address, shown_body, shown_text, shown_variable
from tools_shared.cli import Invocation, ToolCommand, config_options, resolve
from tools_shared.engines import EngineConfig
from tools_shared.engines.http.exchange import Server
from tools_shared.errors import ToolError

KEY = "sk-PLANTED/0123+45=="
ADDRESSES = {
    f"http://h:1/v1?api_key={KEY}": "http://h:1/v1?api_key=***",
    f"http://h/v1?a=1&api_key={KEY}&b=": "http://h/v1?a=***6b86b273&api_key=***&b=",
    f"https://h/v1?code={KEY};sig={KEY}": "https://h/v1?code=***;sig=***",
    f"https://h/v1?{KEY[:12]}": "https://h/v1?***",
    f"https://user:{KEY[:10]}@h/v1": "https://***@h/v1",
    f"https://h/v1#access_token={KEY}": "https://h/v1#***",
    f"h:8000/v1?X-Amz-Signature={KEY}": "h:8000/v1?X-Amz-Signature=***",
    "http://h/v1?api-version=2024-02-01": "http://h/v1?api-version=***b6d0a0a6",
    "http://localhost:8000/v1": "http://localhost:8000/v1",
}


@pytest.mark.parametrize(("address", "expected"), ADDRESSES.items())
def test_an_address_is_shown_with_names_and_without_values(address, expected):
    shown = shown_address(address)
    assert shown.split("***")[0] == expected.split("***")[0]
    assert "PLANTED" not in shown
    assert shown_address(shown) == shown
    if "://" in address:
        assert "PLANTED" not in shown_text(f"asked '{address}', got 404 ({address})")


def test_another_deployment_is_noticed_and_another_key_is_not():
    one, other = (shown_address(f"http://h/v1?deployment={d}&api_key={k}") for d, k in (("a", "k1"), ("b", "k1")))
    assert one != other
    assert one == shown_address("http://h/v1?deployment=a&api_key=k2")


def test_addresses_of_data_stay_and_words_with_question_marks_too():
    for text in (
        "hf://owner/name?config=main&split=train",
        "What is 3/4 of 20? x=5",
        "demo://problems?size=8",
        "a@b.c",
    ):
        assert shown_text(text) == text
    assert "hf_SECRET" not in shown_text("hf://owner/name?token=hf_SECRET: unknown option")


def test_a_body_is_shown_with_names_numbers_and_placeholders():
    body = '{"key": "sk-PLANTED", "auth": {"pin": 1234}, "inputs": "{prompt}", "n": 2, "list": ["sk-PLANTED"]}'
    shown = shown_body(body)
    assert "PLANTED" not in shown
    assert "1234" not in shown
    assert '"inputs": "{prompt}"' in shown
    assert '"n": 2' in shown
    assert shown_body("sk-PLANTED not json") == "***"
    assert shown_body('{"a": "' + "x" * 5000 + '"}') != "***"


@pytest.mark.parametrize("key", ["sk-PLANTEDPLANTED", "gsk_PLANTEDaaaaaa", "AKIAPLANTEDEXAMPLE12", "PLANTED123456789"])
def test_a_key_given_for_its_variable_is_shown_nowhere(key, monkeypatch):
    assert shown_variable(key) == "***"
    assert shown_variable("OPENAI_API_KEY") == "OPENAI_API_KEY"
    config = {"engine": "http", "endpoint": "http://h/v1", "api_key_env": key}
    try:
        EngineConfig(**config)
    except ToolError as error:
        assert "PLANTED" not in str(error)  # noqa: PT017 - some look like names
    else:
        assert "PLANTED" not in str(EngineConfig(**config).to_dict())
    monkeypatch.setenv("lower_case_name", "k")
    assert shown_variable("lower_case_name") == "lower_case_name"


def test_what_is_written_has_no_secret_and_cannot_be_sent_as_an_address(monkeypatch):
    address = f"http://h/v1?api_key={KEY}"
    config = EngineConfig(engine="http", endpoint=address, extra_body='{"user": "PLANTED-user"}')
    assert config.endpoint == address
    assert "PLANTED" not in str(config.to_dict()) + str(config.identity())
    words = ["--endpoint", address, f"--endpoint={address}", "--extra-body", '{"user": "PLANTED-user"}', "--n", "3"]
    assert "PLANTED" not in " ".join(config.shown_words(words))
    assert config.shown_words(["--n", "3"]) == ("--n", "3")
    for name in ("endpoint", "extra_body"):
        with pytest.raises(ToolError, match="again, on the command line"):
            EngineConfig(**{"engine": "http", "endpoint": address, name: config.to_dict()[name]})


def test_a_server_is_shown_and_heard_without_secrets():
    server = Server(f"http://h/v1?api_key={KEY}&a=short1", "sk-PLANTED-bearer")
    assert "PLANTED" not in repr(server) + server.shown
    assert b"PLANTED" not in server.without_secrets(f"bad key {KEY} of sk-PLANTED-bearer".encode())


def test_the_command_line_is_noted_without_secrets(monkeypatch):
    noted = []

    @click.command(cls=ToolCommand)
    @config_options(EngineConfig)
    def main(**options):
        noted.append(resolve(EngineConfig, options, "0")[1])

    words = ["--engine", "http", "--endpoint", f"http://h/v1?api_key={KEY}"]
    monkeypatch.setattr("sys.argv", ["tools-x", *words])
    main.main(words, standalone_mode=False)
    assert isinstance(noted[0], Invocation)
    assert "PLANTED" not in str(noted[0])
    assert noted[0].argv[-1] == "http://h/v1?api_key=***"
