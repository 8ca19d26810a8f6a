from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.admin.markup import Html, breakable, duration, html, section, size, tag


class MarkupTests(SynchronousTestCase):
    def test_text_is_escaped_once(self) -> None:
        self.assertEqual(html('<a b="c">'), "&lt;a b=&quot;c&quot;&gt;")
        self.assertEqual(html(html("<")), "&lt;")
        self.assertEqual(
            tag("p", "<", Html("<br>"), 3, class_='x"', data_label="y"),
            '<p class="x&quot;" data-label="y">&lt;<br>3</p>',
        )

    def test_a_url_is_broken_where_its_parts_end(self) -> None:
        self.assertEqual(
            breakable("/a → https://nas.lan:8443/<b>"),
            "/<wbr>a → https://<wbr>nas.<wbr>lan:8443/<wbr>&lt;b&gt;",
        )

    def test_sizes(self) -> None:
        for count, expected in (
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024**2 - 1, "1.0 MiB"),
            (5 * 1024**3, "5.0 GiB"),
            (2000 * 1024**4, "2,000.0 TiB"),
        ):
            self.assertEqual(size(count), expected)

    def test_durations(self) -> None:
        for seconds, expected in (
            (-3, "0 s"),
            (0.9, "0 s"),
            (59.9, "59 s"),
            (60, "1 min 0 s"),
            (3599, "59 min 59 s"),
            (3600, "1 h 0 min"),
            (86399, "23 h 59 min"),
            (90000, "1 d 1 h"),
        ):
            self.assertEqual(duration(seconds), expected)

    def test_a_table_has_a_name_headers_and_labels(self) -> None:
        self.assertEqual(
            section(
                "x", "Head", ["=Name", "Text", "#Count"], [["<a>", Html("<br>"), 3]], keys=["r-1"], note="n"
            ),
            '<h2 id="x-title">Head</h2><table role="table" aria-labelledby="x-title">'
            '<thead role="rowgroup"><tr role="row">'
            '<th scope="col" role="columnheader" class="name">Name</th>'
            '<th scope="col" role="columnheader" class="text">Text</th>'
            '<th scope="col" role="columnheader" class="number">Count</th></tr></thead>'
            '<tbody role="rowgroup"><tr role="row" id="r-1">'
            '<td role="cell" class="name" data-label="Name"><div>&lt;a&gt;</div></td>'
            '<td role="cell" class="text" data-label="Text"><div><br></div></td>'
            '<td role="cell" class="number" data-label="Count"><div>3</div></td></tr></tbody></table>'
            '<p class="empty">n</p>',
        )
        self.assertEqual(
            section("x", "Head", ["A"], [], empty="<none>"),
            '<h2 id="x-title">Head</h2><p class="empty">&lt;none&gt;</p>',
        )
