// The page as text, in the two forms that scrapers read: OpenMetrics 1.0 and the older form of Prometheus, version 0.0.4
// (which node_exporter's textfile collector takes too). They differ in the names before the samples, in units, in the
// spelling of bounds, and in the end. No timestamps, no exemplars, no `_created`: the start time is a metric of its own.
// Source: OpenMetrics 1.0 §4, §5; prometheus.io/docs/instrumenting/exposition_formats.

internal import PosternDaemon

enum MetricsFormat: String, CaseIterable, Sendable {
    case openMetrics = "openmetrics"
    case text

    var contentType: String {
        switch self {
        case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
        case .text: "text/plain; version=0.0.4; charset=utf-8"
        }
    }
}

extension MetricsPage {
    func text(_ format: MetricsFormat) -> String {
        var text = ""
        for (family, samples) in families {
            family.writeHead(format, to: &text)
            for sample in samples { sample.write(as: family, format, to: &text) }
        }
        if format == .openMetrics { text += "# EOF\n" }
        return text
    }
}

extension MetricFamily {
    fileprivate func writeHead(_ format: MetricsFormat, to text: inout String) {
        switch format {
        case .openMetrics:
            text += "# TYPE \(openName) \(kind.rawValue)\n"
            if let unit { text += "# UNIT \(openName) \(unit)\n" }
            // OpenMetrics §4: quotes are escaped here too.
            text += "# HELP \(openName) \(MetricsPage.escaped(help, quotes: true))\n"
        case .text:
            text += "# HELP \(name) \(MetricsPage.escaped(help, quotes: false))\n"
            text += "# TYPE \(name) \(kind == .info ? "gauge" : kind.rawValue)\n"  // it knows no info
        }
    }
}

extension MetricsPage.Sample {
    fileprivate func write(as family: MetricFamily, _ format: MetricsFormat, to text: inout String) {
        switch value {
        case .whole(let number): line(family.name, labels, "\(number)", to: &text)
        case .microseconds(let time): line(family.name, labels, Self.decimal(time, digits: 6), to: &text)
        case .histogram(let histogram):
            var count: UInt64 = 0
            for (place, bucket) in histogram.buckets.enumerated() {
                let (sum, isOver) = count.addingReportingOverflow(UInt64(clamping: bucket))
                count = isOver ? .max : sum
                let bound = histogram.bounds.dropFirst(place).first.map { Self.bound($0, format) } ?? "+Inf"
                let le = MetricsPage.Label(key: "le", value: bound)
                line(family.name + "_bucket", labels + [le], "\(count)", to: &text)
            }
            line(family.name + "_sum", labels, Self.decimal(histogram.sum, digits: 9), to: &text)
            line(family.name + "_count", labels, "\(count)", to: &text)
        }
    }

    private func line(_ name: String, _ labels: [MetricsPage.Label], _ value: String, to text: inout String) {
        text += name
        if !labels.isEmpty {
            let pairs = labels.map { "\($0.key)=\"\(MetricsPage.escaped($0.value, quotes: true))\"" }
            text += "{\(pairs.joined(separator: ","))}"
        }
        text += " \(value)\n"
    }

    /// Seconds with a fraction as short as it is exact.
    /// - Parameter digits: how many of the number's are the fraction.
    static func decimal(_ number: Int64, digits: Int) -> String {
        let scale = (0..<digits).reduce(Int64(1)) { product, _ in product * 10 }
        var fraction = Substring("\(number % scale)")
        fraction = String(repeating: "0", count: digits - fraction.count) + fraction
        while fraction.last == "0" { fraction.removeLast() }
        return fraction.isEmpty ? "\(number / scale)" : "\(number / scale).\(fraction)"
    }

    /// A bucket's bound in seconds. OpenMetrics §4 wants a float, `1.0`, where the older form has `1`.
    private static func bound(_ microseconds: Int64, _ format: MetricsFormat) -> String {
        let bound = "\(Double(microseconds) / 1_000_000)"
        return format == .text && bound.hasSuffix(".0") ? String(bound.dropLast(2)) : bound
    }
}

extension MetricsPage {
    /// Both forms: backslash, line feed, and quotes where they end something.
    fileprivate static func escaped(_ text: String, quotes: Bool) -> String {
        guard text.utf8.contains(where: { $0 == 0x5C || $0 == 0x0A || $0 == 0x22 }) else { return text }
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            case "\"" where quotes: escaped += "\\\""
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
