// The metrics that there are, as a table in Markdown: contrib/prometheus/metrics.md is its output.

internal import PosternDaemon

enum MetricsTable {
    static var text: String {
        let groups = [nil] + DaemonName.allCases.map { Optional($0.rawValue) } + [MetricFamily.commandLine]
        return head + groups.map(section).joined(separator: "\n")
    }

    private static let head = """
        # Metrics of Postern

        Made by `postern metrics --list`. Times are in seconds, sizes in octets. Every name ends as its kind says:
        counters, which only rise, in `_total`; of a histogram there are `_bucket`, `_sum` and `_count`.
        Values of a label are listed where they are a closed set; the others come from the configuration.

        The last column but one is what a JSON line of the log (`log.format = "json"`) calls it: `spf.result` stands there as
        `"spf":{"result":"fail"}`, `signatures.result[]` as `"signatures":{"result":["pass","fail"]}`, and what has no label as
        a number. So a query for the metrics and one for the log use the same words.


        """

    private static func section(_ daemon: String?) -> String {
        let rows = MetricFamily.all.filter { $0.daemon == daemon }.map { family in
            "| `\(family.name)` | \(family.kind.rawValue) | \(labels(family)) | \(inLog(family)) | \(family.help) |\n"
        }
        return "## \(daemon ?? "Every daemon")\n\n| metric | kind | labels | JSON log | |\n|---|---|---|---|---|\n"
            + rows.joined()
    }

    private static func inLog(_ family: MetricFamily) -> String {
        guard let form = family.inLog else { return "" }
        guard let label = family.label else { return "`\(family.noun)`" }
        return "`\(family.noun).\(label.key)\(form == .several ? "[]" : "")`"
    }

    private static func labels(_ family: MetricFamily) -> String {
        let shared = family.daemon == nil ? ["`daemon`"] : []
        guard let label = family.label else { return shared.joined() }
        let own =
            switch label.values {
            case .closed(let values): "`\(label.key)`: \(values.joined(separator: ", "))"
            case .configured: "`\(label.key)`"
            }
        return (shared + [own]).joined(separator: ", ")
    }
}
