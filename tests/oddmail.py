"""Messages that are odd, broken or rare, for every test that looks into messages."""

ODD: list[bytes] = [
    b"",
    b"\n",
    b"no header at all",
    b"Subject: only header",
    b"Subject: x\n\nbody\nno end",
    b"From: \nTo: ,\nCc: <>\nBcc: @\n\nx\n",
    b"From: foo\nTo: foo bar\n\nx\n",
    b"From: Foo <foo>\nTo: \"a b\" <\"q q\"@x.y>\n\nx\n",
    b"From: a@b (comment)\nTo: Group: a@b, c@d;\nCc: undisclosed:;\n\nx\n",
    b"Subject: folded\n  line\n\tmore\n\nx\n",
    b"Subject: =?utf-8?q?x=C3=BC?=\nFrom: =?utf-8?q?x=C3=BC?= <a@b>\n\nx\n",
"Subject: Grüße\nFrom: Jö <a@b>\n\nx\n".encode(),
    b"Content-Type: text\n\nx\n",
    b"Content-Type: TEXT/HTML; CHARSET=UTF-8; Format=Flowed\n\nx\n",
    b"Content-Type: multipart/mixed\n\n--\nx\n",
    b"Content-Type: multipart/mixed; boundary=q\n\nno parts\n",
    b"Content-Type: multipart/mixed; boundary=q\n\n--q--\n",
    b"Content-Type: multipart/mixed; boundary=q\n\n--q\n\na\n--q\n\nb\n",
    b"Content-Type: multipart/mixed; boundary=\"q q\"\n\npre\n--q q\nContent-Type: text/plain; name=\"a\\\"b\"\nContent-Disposition: attachment; filename*=utf-8''x%20y\n\na\n--q q--\npost\n",
    b"Content-Type: multipart/digest; boundary=q\n\n--q\n\nSubject: d\n\nin\n--q--\n",
    b"Content-Type: message/rfc822\n\nSubject: in\nContent-Type: multipart/mixed; boundary=z\n\n--z\n\na\n--z--\n",
    b"Content-Type: multipart/mixed; boundary=q\n\n--q\nContent-Type: message/rfc822\n\nFrom: x@y\nSubject: inner\n\nhello\n--q\nContent-Type: message/delivery-status\n\nReporting-MTA: x\n\nFoo: y\n--q--\n",
    b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=ab\n\n--ab\n\n1\n--ab\n\n2\n--a\n\n3\n--a--\n",
    b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\n1\n--b--\n\n--a\n\n3\n--a--\n",
    b"Content-Type: image/png; name=x.png\nContent-Transfer-Encoding: base64\nContent-ID: <a@b>\nContent-Description: d e\nContent-Disposition: inline;\n filename=\"x.png\"; size=3\nContent-MD5: q==\nContent-Language: en, de\nContent-Location: http://x/\n\nAAAA\n",
    b"Date: Mon,  1 Jan 2024\n 10:00:00 +0000 (UTC)\nMessage-ID:  <a@b> \nIn-Reply-To: <c@d>\n <e@f>\n\nx\n",
    b"From: a@b\nFrom: c@d\nSubject: 1\nSubject: 2\nTo: x@y\nTo: z@w\n\nx\n",
    b"From: a@b\nbroken line\nSubject: after\n\nx\n",
    b"From mbox line\nSubject: x\n\ny\n",
    b"Subject : spaced\nX: y\n\nz\n",
    b"Sender: s@t\nReply-To: r@t\n\nx\n",
    b"From: \"unclosed <a@b>\n\nx\n",
    b"From: <@r1,@r2:u@v>\n\nx\n",
    b"From: a@b, \"C, D\" <c@d>, e@f (G (H) I)\n\nx\n",
    b"Content-Type: text/plain; charset\n\nx\n",
    b"Content-Type: text/plain; charset=\"utf-8\n\nx\n",
    b"Content-Type: application/x; a*0=x; a*1=y; b*=utf-8''z\n\nx\n",
    b"Content-Transfer-Encoding: bogus encoding\n\nx\n",
    b"Content-Disposition:\nContent-Type:\n\nx\n",
    b"Content-Type: text/plain (comment); charset=utf-8 (c)\n\nx\n",
    b"\nbody after empty header\n",
    b"Content-Type: multipart/mixed; boundary=q\n\n--q\nSubject: only header of part\n--q\n\nx\n--q--",
    b"Content-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\n\r\ncrlf file\r\n--q--\r\n",
    b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeAoKeQo=\n",
]


def multipart(*parts: bytes, boundary: bytes = b"q", kind: bytes = b"mixed", end: bool = True) -> bytes:
    """parts: with their headers."""
    inside = b"".join(b"--%b\n%b\n" % (boundary, part) for part in parts)
    return b"Content-Type: multipart/%b; boundary=\"%b\"\n\n%b%b" % (kind, boundary, inside, b"--%b--\n" % boundary if end else b"")


def nested(depth: int, inmost: bytes = b"\ninmost\n") -> bytes:
    """Multiparts in multiparts."""
    for level in range(depth):
        inmost = multipart(inmost, boundary=b"b%d." % level)
    return inmost


def forwarded(depth: int, inmost: bytes = b"Subject: inmost\n\nx\n") -> bytes:
    """Messages in messages."""
    for level in range(depth):
        inmost = b"Subject: %d\nContent-Type: message/rfc822\n\n%b" % (level, inmost)
    return inmost


TEXT, PART = b"\ntext\n", b"Content-Type: a/b; name=x\nContent-Disposition: attachment; filename=\"x y\"\n\noctets\n"

# By name, so that what is said of one can be explained.
ODDER: dict[str, bytes] = {
    # messages in messages
    "rfc822 in multipart": multipart(TEXT, b"Content-Type: message/rfc822\n\nSubject: in\nFrom: a@b\n\ninside\n"),
    "rfc822 with multipart in multipart": multipart(TEXT, b"Content-Type: message/rfc822\nContent-Description: fwd\n\nSubject: in\n" + multipart(TEXT, PART, boundary=b"z")),
    "rfc822 with rfc822": multipart(b"Content-Type: message/rfc822\n\n" + forwarded(2), TEXT),
    "rfc822 at the top": forwarded(3),
    "rfc822 with multipart at the top": b"Content-Type: message/rfc822\n\nSubject: in\n" + multipart(TEXT, PART),
    "rfc822 without a body": multipart(b"Content-Type: message/rfc822\n\n", TEXT),
    "rfc822 without a header": multipart(b"Content-Type: message/rfc822\n\n\nonly a body\n", TEXT),
    "rfc822 that is only a header": multipart(b"Content-Type: message/rfc822\n\nSubject: in\n", TEXT),
    "rfc822 without an empty line": multipart(b"Content-Type: message/rfc822\nSubject: whose?\n", TEXT),
    "rfc822 in capitals": multipart(b"CONTENT-TYPE: MESSAGE/RFC822\n\nSubject: in\n\nx\n"),
    "message of another kind": multipart(b"Content-Type: message/partial; id=1; number=1\n\nSubject: part\n\nx\n", b"Content-Type: message/delivery-status\n\nA: b\n\nC: d\n"),
    "digest": multipart(b"\nSubject: one\n\n1\n", b"Content-Type: text/plain\n\nplain\n", b"Subject: whose\n\nSubject: two\n\n2\n", kind=b"digest"),
    "digest in a digest": multipart(b"\nSubject: in\n" + multipart(b"\nSubject: inmost\n\nx\n", boundary=b"z", kind=b"digest"), kind=b"digest"),
    "two multiparts deep": nested(2), "ten multiparts deep": nested(10), "ten messages deep": forwarded(10),
    # boundaries
    "no end": multipart(TEXT, PART, end=False), "no end and no line end": multipart(TEXT, PART, end=False).rstrip(b"\n"),
    "only a delimiter": b"Content-Type: multipart/mixed; boundary=q\n\n--q", "only an end": b"Content-Type: multipart/mixed; boundary=q\n\n--q--",
    "no delimiter at all": b"Content-Type: multipart/mixed; boundary=q\n\nnothing\n", "an empty body": b"Content-Type: multipart/mixed; boundary=q\n\n",
    "no body": b"Content-Type: multipart/mixed; boundary=q\n", "an empty boundary": b"Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\nx\n----\n",
    "blanks behind delimiters": b"Content-Type: multipart/mixed; boundary=q\n\n--q \t\n\na\n--q  \n\nb\n--q-- \n",
    "text behind a delimiter": b"Content-Type: multipart/mixed; boundary=q\n\n--q\n\na\n--qx\n\nb\n--q--\n",
    "parts behind the end": multipart(TEXT) + b"--q\n\nafter\n--q--\n",
    "an epilogue": multipart(TEXT, PART) + b"epilogue\nof two lines\n",
    "a preamble": b"Content-Type: multipart/mixed; boundary=q\n\npreamble\n\n--q\n\nx\n--q--\n",
    "empty parts": multipart(b"\n", b"\n", b"\n"), "parts of nothing": b"Content-Type: multipart/mixed; boundary=q\n\n--q\n--q\n--q--\n",
    "parts of an empty line": b"Content-Type: multipart/mixed; boundary=q\n\n--q\n\n--q\n\n--q--\n",
    "only headers in parts": b"Content-Type: multipart/mixed; boundary=q\n\n--q\nA: b\n--q\nC: d\n--q--\n",
    "an inner boundary that begins with the outer": multipart(multipart(TEXT, PART, boundary=b"qq"), PART, boundary=b"q"),
    "an outer boundary that begins with the inner": multipart(multipart(TEXT, PART, boundary=b"q"), PART, boundary=b"qq"),
    "the same boundary within": multipart(multipart(TEXT, PART, boundary=b"q"), PART, boundary=b"q"),
    "an inner multipart without end": multipart(multipart(TEXT, boundary=b"z", end=False), PART),
    "a boundary of regular signs": multipart(TEXT, PART, boundary=b".*+?(a|b)[c]{2}^$\\\\".replace(b"\\", b"")),
    "a boundary of 70": multipart(TEXT, PART, boundary=b"b" * 70), "a boundary of 200": multipart(TEXT, PART, boundary=b"b" * 200),
    "a boundary in 8 bits": multipart(TEXT, PART, boundary=b"\xfcq"), "a folded boundary": b"Content-Type: multipart/mixed;\n\tboundary=\"q\"\n\n--q\n\nx\n--q--\n",
    "two boundaries": b"Content-Type: multipart/mixed; boundary=q; boundary=z\n\n--q\n\na\n--z\n\nb\n--z--\n--q--\n",
    "a boundary in RFC 2231": b"Content-Type: multipart/mixed; boundary*0=q; boundary*1=z\n\n--qz\n\na\n--qz--\n",
    # headers
    "fields twice": b"From: a@b\nSubject: one\nSubject: two\nDate: 1\nDate: 2\nMessage-ID: <1@a>\nMessage-ID: <2@a>\nContent-Type: text/html\nContent-Type: text/plain\n\nx\n",
    "8 bits in fields": b"Subject: gr\xfc\xdfe\nFrom: J\xf6 <j@b>\nTo: \"\xe4\" <x@y>\nContent-Description: \xff\n\nx\n",
    "UTF-8 in fields": "Subject: Grüße 日本\nFrom: Jörg <j@ö.example>\nContent-Type: text/plain; name=\"ä\"\n\nx\n".encode(),
    "a header without end": b"From: a@b\nSubject: x", "only a body": b"\nbody\n", "only line ends": b"\n\n\n", "nothing": b"",
    "a line that is no field": b"Subject: x\nno field here\nFrom: a@b\n\nx\n", "a fold at the beginning": b" folded\nSubject: x\n\ny\n",
    "a field without a name": b": value\nSubject: x\n\ny\n", "a blank in a name": b"Sub ject: x\nFrom: a@b\n\ny\n", "a blank before the colon": b"Subject : x\nFrom\t: a@b\n\ny\n",
    "an empty field": b"Subject:\nFrom:\nTo:\nMessage-ID:\nDate:\n\nx\n", "a line of blanks ends no header": b"Subject: x\n \t \nFrom: a@b\n\ny\n",
    "a folded subject": b"Subject: one\n two\n\tthree\n   \n four\n\nx\n", "a fold of nothing": b"Subject: \n x\n\ny\n",
    "quotes in a subject": b"Subject: a \"b\" \\ c\n\nx\n", "a NUL in a header": b"Subject: a\0b\nFrom: \0@b\n\nx\n", "a control in a header": b"Subject: a\x07b\x7f\n\nx\n",
    "a long line": b"Subject: x\n\n" + b"y" * 100_000 + b"\n", "a long field": b"Subject: " + b"s" * 20_000 + b"\n\nx\n",
    "a long word of ids": b"References: " + b"<%d@a> " * 1 % 1 + b"<2@a>\n\nx\n", "mbox line": b"From x@y Mon Jan  1 00:00:00 2024\nSubject: x\n\ny\n",
    # line ends
    "CR alone": b"Subject: x\rFrom: a@b\r\ry\r", "CR in a body": b"Subject: x\n\na\rb\r\rc\n", "CR LF": b"Subject: x\r\nFrom: a@b\r\n\r\na\r\nb",
    "CR LF and LF": b"Subject: x\r\nFrom: a@b\n\r\na\r\nb\nc", "CR CR LF": b"Subject: x\r\r\n\r\r\na\r\r\n", "NUL in a body": b"Subject: x\n\na\0b\n\0\n",
    "CR at the end": b"Subject: x\n\na\r", "a CR LF multipart": multipart(TEXT, PART).replace(b"\n", b"\r\n"),
    # types and parameters
    "a type without a subtype": multipart(b"Content-Type: text\n\nx\n", b"Content-Type: multipart\n\nx\n"), "a type of nothing": b"Content-Type: /\n\nx\n",
    "a type of signs": b"Content-Type: te?xt/pl@in\n\nx\n", "parameters without values": b"Content-Type: text/plain; charset=; name; =x; format=flowed\n\nx\n",
    "semicolons": b"Content-Type: text/plain;;; charset=utf-8;;\n\nx\n", "a comment in a type": b"Content-Type: text/(c)plain (d); (e) charset=(f)utf-8\n\nx\n",
    "escapes in a parameter": b"Content-Type: text/plain; name=\"a\\\"b\\\\c\\d\"\n\nx\n", "a parameter without its end": b"Content-Type: text/plain; name=\"abc\n\nx\n",
    "a parameter with blanks": b"Content-Type: text/plain; name = \"a b\" ; x = y\n\nx\n", "a parameter of signs": b"Content-Type: text/plain; name=a/b?c; x=y=z\n\nx\n",
    "continued parameters": b"Content-Type: a/b; name*0=one; name*1=\"two\"; name*2=three\n\nx\n",
    "continued parameters out of order": b"Content-Type: a/b; name*1=two; name*0=one\n\nx\n", "a continued parameter with a gap": b"Content-Type: a/b; name*0=one; name*2=three\n\nx\n",
    "an encoded parameter": b"Content-Disposition: attachment; filename*=utf-8''%e2%82%ac%20x\nContent-Type: a/b; name*=iso-8859-1'en'%fc\n\nx\n",
    "encoded and continued": b"Content-Type: a/b; name*0*=utf-8''%e2%82; name*1*=%ac; name*2=\" plain\"\n\nx\n",
    "encoded words in a parameter": b"Content-Type: a/b; name=\"=?utf-8?q?=C3=BC?=\"\n\nx\n", "both forms of a parameter": b"Content-Disposition: attachment; filename=x; filename*=utf-8''y\n\nx\n",
    "many parameters": b"Content-Type: a/b" + b"".join(b"; p%d=%d" % (number, number) for number in range(90)) + b"\n\nx\n",
    "a type in RFC 822 words": b"Content-Type: text/plain; charset=\"utf-8\"; format=flowed; delsp=yes\n\nx\n",
    # the other fields of a part
    "dispositions": multipart(b"Content-Disposition: INLINE\n\nx\n", b"Content-Disposition: attachment; filename=a b.txt; size=1\n\nx\n", b"Content-Disposition: ;x=y\n\nx\n",
                              b"Content-Disposition: \"attachment\"; x=y\n\nx\n"),
    "languages": multipart(b"Content-Language: de\n\nx\n", b"Content-Language: de, en-GB,\n\nx\n", b"Content-Language: (c) de\n\nx\n", b"Content-Language:\n\nx\n"),
    "locations and ids": multipart(b"Content-Location: http://x/\n y\nContent-ID:  <a@b> \nContent-MD5: x==\nContent-Description: a\n b\n\nx\n"),
    "encodings": multipart(b"Content-Transfer-Encoding: BASE64\n\nAAAA\n", b"Content-Transfer-Encoding: 8bit (c)\n\nx\n", b"Content-Transfer-Encoding:\n\nx\n",
                           b"Content-Transfer-Encoding: a b\n\nx\n", b"Content-Transfer-Encoding: x-y;z\n\nx\n"),
    # addresses
    "groups": b"To: g:;, h: a@b, c@d;, e@f\nCc: g: x: y@z;;\n\nx\n", "routes": b"From: <@a,@b:c@d>\nTo: x <@a:y@z>\n\nx\n", "comments": b"From: (a) b@c (d)\nTo: x(y)@(z)w\n\nx\n",
    "quoted local parts": b"From: \"a b\"@c\nTo: \"a@b\"@c, \"x\\\"y\"@z\n\nx\n", "literals": b"From: a@[1.2.3.4]\nTo: b@[IPv6:::1]\n\nx\n",
    "encoded names": b"From: =?utf-8?q?J=C3=B6?= <a@b>\nTo: \"=?utf-8?b?w7w=?=\" <c@d>\n\nx\n", "dots in names": b"From: J. R. Smith <a@b>\nTo: a.b.c@d.e\n\nx\n",
    "missing commas": b"From: a@b c@d\nTo: <a@b> <c@d>\n\nx\n", "brackets only": b"From: <>\nTo: <\nCc: >\nBcc: <a\n\nx\n", "many addresses": b"To: " + b", ".join([b"a%d@b" % n for n in range(300)]) + b"\n\nx\n",
    "a name without an address": b"From: Just A Name\nTo: a, b\nReply-To: \"q\"\n\nx\n", "fields of addresses twice": b"To: a@b\nTo: c@d\nFrom: x@y\nSender:\nReply-To: ,\n\nx\n",
}
