// The chart of a report: one bar a span of time, its kinds above one another, as SVG in the page. The picture is
// stretched to the page's width; words stand beside it, so that they keep their size.

internal import PosternMail

struct ReportChart {
    let bars: [TimeSeries.Bar]
    /// Seconds of a bar.
    let width: Int64
    /// The highest bar.
    let most: Int
    let time: LogTimeText

    /// The picture's own units.
    private static let barUnits = 10
    private static let gapUnits = 1
    private static let height = 1000
    private static let names = ["queued", "quarantined", "deferred", "refused"]
    private static let labels = ["taken in", "quarantined", "refused for now", "refused for good"]

    var html: String {
        let units = bars.count * Self.barUnits
        let legend = zip(Self.names, Self.labels).map { "<span class=\"\($0)\">\($1)</span>" }.joined()
        return """
            <section>
            <h2>Messages and refusals, each bar \(ReportNumber.duration(Int(width)))</h2>
            <div class="chart">
            <div class="ticks"><span>\(ReportNumber.grouped(most))</span><span>0</span></div>
            <svg viewBox="0 0 \(units) \(Self.height)" preserveAspectRatio="none" role="img" \
            aria-label="Messages and refusals over time; the highest bar is \(most)">
            \(bars.enumerated().map { rectangles($0, $1) }.joined())</svg>
            <div class="times">\(times.map { "<span>\(HTML.escaped($0))</span>" }.joined())</div>
            </div>
            <div class="legend">\(legend)</div>
            </section>
            """
    }

    private func rectangles(_ index: Int, _ bar: TimeSeries.Bar) -> String {
        guard bar.total > 0 else { return "" }
        var below = 0
        var text = "<g><title>\(HTML.escaped(time.minute(bar.start)))"
        for (label, count) in zip(Self.labels, bar.counts) where count > 0 { text += ", \(label) \(count)" }
        text += "</title>"
        for (name, count) in zip(Self.names, bar.counts) where count > 0 {
            // Edges are rounded, not heights: what touches in the data touches in the picture.
            let bottom = below * Self.height / most
            below += count
            let top = max(bottom + 1, below * Self.height / most)
            text +=
                "<rect class=\"\(name)\" x=\"\(index * Self.barUnits)\" y=\"\(Self.height - top)\" "
                + "width=\"\(Self.barUnits - Self.gapUnits)\" height=\"\(top - bottom)\"/>"
        }
        return text + "</g>\n"
    }

    /// The first bar's time, the middle one's, the last one's end.
    private var times: [String] {
        guard let first = bars.first, let last = bars.last else { return [] }
        let isDays = width >= 86_400
        func text(_ moment: UnixTime) -> String { isDays ? time.day(moment) : time.minute(moment) }
        let end = last.start + .seconds(width)
        let middle = first.start + (end - first.start) / 2
        return [text(first.start), text(middle), text(end)]
    }
}
