import pytest
from lisa.errors import LisaError
from lisa_gateway.multipart import parse

TYPE = b"multipart/form-data; boundary=xYz"


def part(head: bytes, data: bytes) -> bytes:
    return b"--xYz\r\n" + head + b"\r\n\r\n" + data + b"\r\n"


MODEL = part(b'Content-Disposition: form-data; name="model"', b"m")
END = b"--xYz--\r\n"


def test_parts_are_read_and_written_anew():
    data = bytes(range(256)) + b"\r\n--xY\r\n\r\n--"
    file = part(
        b'content-disposition: form-data; name="file"; filename="a\\"b.wav"\r\ncontent-type: audio/wav', data
    )
    form = parse(TYPE, MODEL + file + END)
    assert form.model() == "m"
    assert [(p.name, p.filename, p.content_type, p.data) for p in form.parts] == [
        ("model", None, b"", b"m"),
        ("file", 'a"b.wav', b"audio/wav", data),
    ]
    again = parse(form.content_type, form.encode())
    assert again.parts == form.parts
    assert b"xYz--" not in form.encode()


@pytest.mark.parametrize(
    "content_type",
    [
        TYPE,
        b'multipart/form-data; boundary="xYz"',
        b"Multipart/Form-Data;boundary=xYz",
        b"multipart/form-data; charset=utf-8; boundary=xYz",
    ],
)
def test_boundaries_may_be_written_in_every_way(content_type):
    assert parse(content_type, MODEL + END).model() == "m"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (b"", MODEL + END),
        (b"application/json", b"{}"),
        (b"multipart/form-data", MODEL + END),
        (b"multipart/form-data; boundary=", MODEL + END),
        (b"multipart/form-data; boundary=xYz; boundary=b", MODEL + END),
        (TYPE, b""),
        (TYPE, MODEL),
        (TYPE, b"--xYz\r\n" + END),
        (TYPE, part(b"x: y", b"m") + END),
        (TYPE, part(b'content-disposition: attachment; name="model"', b"m") + END),
        (TYPE, b"--xYz\n" + MODEL[7:] + END),
        (TYPE, MODEL * 100 + END),
    ],
)
def test_what_is_no_form_is_refused(content_type, body):
    with pytest.raises(LisaError) as refused:
        parse(content_type, body)
    assert refused.value.status == 400


def test_a_model_that_is_a_file_is_no_model():
    form = parse(TYPE, part(b'content-disposition: form-data; name="model"; filename="x"', b"m") + END)
    with pytest.raises(LisaError) as refused:
        form.model()
    assert refused.value.status == 404


def test_names_cannot_break_out_of_their_line():
    form = parse(TYPE, part(b'content-disposition: form-data; name="a\x01\\"; filename=\\"b"', b"1") + END)
    head = form.encode().split(b"\r\n\r\n")[0]
    assert head.count(b"\r\n") == 1
    assert parse(form.content_type, form.encode()).parts[0].filename is None
