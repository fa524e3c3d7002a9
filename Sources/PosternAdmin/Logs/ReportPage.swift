// A report as one HTML page: nothing outside of it is loaded and nothing in it runs. What strangers wrote into the log
// is text here, whatever it looks like; a content security policy says so too. It adapts to light and dark and to a
// phone. Source: HTML Living Standard §13.1.2 (escapes), W3C CSP3 §2.

internal import PosternMail

enum HTML {
    /// Text for an element or a quoted attribute.
    static func escaped(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "'": escaped += "&#39;"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}

extension Report {
    var page: String {
        """
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <meta name="referrer" content="no-referrer">
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
        <title>Mail report, \(HTML.escaped(period))</title>
        <style>
        \(Self.style)
        </style>
        </head>
        <body>
        <header>
        <h1>Mail report</h1>
        <p>\(HTML.escaped(period))</p>
        </header>
        <main>
        \(tiles)
        \(chart)
        \(tables.map { Self.section($0) }.joined())
        </main>
        <footer>
        <p>Made by <code>postern report</code> on \(HTML.escaped(time.minute(made))) from \
        \(ReportNumber.grouped(counts.postfixLines)) lines of Postfix and \
        \(ReportNumber.grouped(counts.posternLines)) of Postern.</p>
        </footer>
        </body>
        </html>

        """
    }

    // MARK: Parts

    private var tiles: String {
        let told: [(String, Int, String)] = [
            ("taken in", counts.queued, ReportNumber.octets(counts.octets)), ("delivered", counts.sent, "recipients"),
            ("refused for good", counts.refusedForGood, "5xx"), ("refused for now", counts.refusedForNow, "4xx"),
            ("bounced", counts.bounced, "recipients"), ("waiting tries", counts.delayed, "to be repeated"),
        ]
        let tiles = told.map { name, count, unit in
            """
            <div class="tile"><span class="name">\(HTML.escaped(name))</span>\
            <span class="count">\(ReportNumber.grouped(count))</span>\
            <span class="unit">\(HTML.escaped(unit))</span></div>

            """
        }
        return "<section class=\"tiles\">\n\(tiles.joined())</section>"
    }

    private var chart: String {
        let bars = counts.series.all
        guard bars.count > 1, let most = bars.map(\.total).max(), most > 0 else { return "" }
        return ReportChart(bars: bars, width: counts.series.width, most: most, time: time).html
    }

    private static func section(_ table: ReportTable) -> String {
        let most = table.isMixed ? 0 : table.rows.map(\.count).max() ?? 0
        let rows = table.rows.map { row in
            let share = most > 0 ? row.count * 100 / most : 0
            let bar = share > 0 ? "<span class=\"track\"><span class=\"bar\" style=\"width:\(share)%\"></span></span>" : ""
            let words = row.words.enumerated().map { index, word in
                // A bar stands below a line, also below one that says nothing.
                index == row.words.count - 1
                    ? "<td class=\"last\">\(HTML.escaped(word.isEmpty ? "\u{A0}" : word))\(bar)</td>"
                    : "<td>\(HTML.escaped(word))</td>"
            }
            let note = row.note.isEmpty ? "" : "<small>\(HTML.escaped(row.note))</small>"
            return "<tr><td class=\"number\">\(ReportNumber.grouped(row.count))</td>\(words.joined())"
                + "<td class=\"note\">\(note)</td></tr>\n"
        }
        let about = table.about.isEmpty ? "" : "<p class=\"about\">\(HTML.escaped(table.about))</p>\n"
        return """
            <section>
            <h2>\(HTML.escaped(table.title))</h2>
            <div class="scroll"><table>
            \(rows.joined())</table></div>
            \(about)</section>

            """
    }

    private static let style = """
        :root { --ground: #f6f7f9; --card: #ffffff; --ink: #1b2130; --soft: #5b6475; --line: #dfe3ea; --bar: #b9cdf0;
          --queued: #3b74d6; --quarantined: #c98a1b; --deferred: #8c95a6; --refused: #c8453b; }
        @media (prefers-color-scheme: dark) { :root { --ground: #12151c; --card: #1b202b; --ink: #e8ebf2;
          --soft: #9aa4b8; --line: #2d3443; --bar: #2f4a7d; --queued: #6c9cf0; --quarantined: #e0ac4c;
          --deferred: #7f899c; --refused: #ef7a70; } }
        * { box-sizing: border-box; }
        body { margin: 0 auto; max-width: 72rem; padding: 1rem; background: var(--ground); color: var(--ink);
          font: 1rem/1.45 system-ui, sans-serif; }
        h1 { font-size: 1.5rem; margin: .25rem 0 0; }
        h2 { font-size: 1.05rem; margin: 0 0 .5rem; }
        header p, footer p, .about, .unit, .note { color: var(--soft); }
        header p { margin: .1rem 0 1rem; }
        section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .9rem 1rem;
          margin: 0 0 1rem; }
        .tiles { background: none; border: 0; padding: 0; display: grid; gap: .6rem;
          grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
        .tile { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .6rem .8rem;
          display: flex; flex-direction: column; }
        .tile .name, .tile .unit { font-size: .85rem; }
        .tile .count { font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; }
        .scroll { overflow-x: auto; }
        table { border-collapse: collapse; width: 100%; }
        td { padding: .3rem .9rem .3rem 0; border-top: 1px solid var(--line); vertical-align: top; }
        .last, .note { overflow-wrap: anywhere; }
        tr:first-child td { border-top: 0; }
        td:last-child { padding-right: 0; }
        .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; width: 1%; }
        .note { width: 35%; text-align: right; }
        .about { margin: .5rem 0 0; font-size: .9rem; }
        .track { display: block; }
        .bar { display: block; height: .3rem; border-radius: .15rem; background: var(--bar); margin-top: .15rem; }
        .chart { display: grid; grid-template-columns: auto 1fr; gap: 0 .5rem; }
        .chart svg { width: 100%; height: 11rem; display: block; border-bottom: 1px solid var(--line);
          border-top: 1px dashed var(--line); }
        .ticks { display: flex; flex-direction: column; justify-content: space-between; text-align: right; }
        .ticks, .times, .legend { color: var(--soft); font-size: .8rem; font-variant-numeric: tabular-nums; }
        .times { grid-column: 2; display: flex; justify-content: space-between; padding-top: .2rem; }
        .legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin-top: .5rem; }
        .legend span::before { content: ""; display: inline-block; width: .7rem; height: .7rem; border-radius: .15rem;
          margin-right: .35rem; background: var(--color); }
        .queued { fill: var(--queued); --color: var(--queued); }
        .quarantined { fill: var(--quarantined); --color: var(--quarantined); }
        .deferred { fill: var(--deferred); --color: var(--deferred); }
        .refused { fill: var(--refused); --color: var(--refused); }
        code { font-size: .95em; }
        @media (min-width: 40.01rem) { td:not(.last):not(.note) { width: 1%; white-space: nowrap; } }
        @media (max-width: 40rem) { body { padding: .7rem; } section { padding: .7rem .8rem; }
          table, tbody { display: block; } tr { display: flex; flex-wrap: wrap; gap: 0 .7rem; padding: .3rem 0;
          border-top: 1px solid var(--line); } tr:first-child { border-top: 0; } td { border: 0; padding: 0; }
          .number { width: auto; min-width: 3.2rem; } .last { display: contents; } .track { flex: 1 0 100%; margin-top: .1rem; }
          .note { flex: 1 0 100%; width: auto; text-align: left; padding-left: 3.9rem; } .note:empty { display: none; }
          .times span { max-width: 5.5rem; } .times span:last-child { text-align: right; } }
        @media print { body { background: none; } section, .tile { break-inside: avoid; } }
        """
}
