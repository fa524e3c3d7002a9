// All daemons' numbers as one page: what each answered, sorted under the metrics that there are. An answer is data: what
// is not declared (MetricFamily), belongs to another daemon, or has a label that is none, is left out and counted.

internal import PosternDaemon
internal import PosternMail

struct MetricsPage: Sendable {
    struct Label: Hashable, Sendable {
        let key: String
        let value: String
    }

    enum Value: Hashable, Sendable {
        case whole(Int64)
        /// To be told in seconds.
        case microseconds(Int64)
        case histogram(MetricsDocument.Histogram)
    }

    struct Sample: Hashable, Sendable {
        let labels: [Label]
        let value: Value
    }

    /// Most samples of one metric: more than a configuration has zones, lists or keys.
    static let maxSamples = 1024

    /// In the order of their declaration; those of which nothing is known are not among them.
    private(set) var families: [(family: MetricFamily, samples: [Sample])] = []

    /// - Parameter answers: of all daemons that are expected, one each.
    /// - Parameter backup: the last; nil where there was none.
    /// - Parameter tested: the last that a test found of use; nil likewise.
    init(
        _ answers: [(daemon: DaemonName, answer: DaemonAnswer)], backup: LastBackup? = nil, tested: LastBackup? = nil
    ) {
        var sheet = Sheet()
        for (daemon, answer) in answers {
            guard case .document(let document) = answer else {
                sheet.add(MetricFamily.up, daemon, .whole(0))
                continue
            }
            let metrics = MetricsDocument(document)
            sheet.add(MetricFamily.up, daemon, .whole(1))
            sheet.add(MetricFamily.build, daemon, .whole(1), Label(key: "version", value: metrics.version))
            var unknown: Int64 = 0
            for reading in metrics.readings where !sheet.add(reading, daemon) { unknown += 1 }
            for histogram in metrics.histograms where !sheet.add(histogram, daemon) { unknown += 1 }
            sheet.add(MetricFamily.unknownReadings, daemon, .whole(unknown))
        }
        if let backup {
            sheet.add(own: MetricFamily.backupTime, .whole(backup.time.seconds))
            sheet.add(own: MetricFamily.backupSize, .whole(Int64(backup.octets)))
        }
        if let tested { sheet.add(own: MetricFamily.backupTested, .whole(tested.time.seconds)) }
        for (family, samples) in zip(MetricFamily.all, sheet.samples) where !samples.isEmpty {
            families.append((family, samples))
        }
    }
}

/// The page while it is written.
private struct Sheet {
    typealias Label = MetricsPage.Label

    /// For each family its samples.
    var samples = [[MetricsPage.Sample]](repeating: [], count: MetricFamily.all.count)
    /// What each has already: a metric and its labels come once.
    private var known = [Set<[Label]>](repeating: [], count: MetricFamily.all.count)

    private static let places = Dictionary(
        zip(MetricFamily.all.map(\.name), MetricFamily.all.indices), uniquingKeysWith: { first, _ in first })
    /// How readings that are no whole seconds are called.
    private static let fraction = "_microseconds"

    mutating func add(_ reading: MetricsDocument.Reading, _ daemon: DaemonName) -> Bool {
        let metric = reading.name.metric
        let label = reading.name.label.map { Label(key: $0.key, value: $0.value) }
        guard metric.contains(Self.fraction) else {
            return add(metric, daemon, .whole(reading.value), label, isReading: true)
        }
        let name = metric.replacing(Self.fraction, with: "_seconds", maxReplacements: 1)
        return add(name, daemon, .microseconds(reading.value), label, isReading: true)
    }

    mutating func add(_ histogram: MetricsDocument.Histogram, _ daemon: DaemonName) -> Bool {
        let label = histogram.name.label.map { Label(key: $0.key, value: $0.value) }
        return add(histogram.name.metric, daemon, .histogram(histogram), label, isReading: true)
    }

    /// What no daemon tells.
    mutating func add(own metric: String, _ value: MetricsPage.Value) {
        guard let place = Self.places[metric] else { return }
        samples[place] = [MetricsPage.Sample(labels: [], value: value)]
    }

    /// - Parameter isReading: a daemon says so.
    /// - Returns: false when there is no such thing.
    @discardableResult mutating func add(
        _ metric: String, _ daemon: DaemonName, _ value: MetricsPage.Value, _ label: Label? = nil,
        isReading: Bool = false
    ) -> Bool {
        guard let place = Self.places[metric], samples[place].count < MetricsPage.maxSamples else { return false }
        let family = MetricFamily.all[place]
        let isOurs = [MetricFamily.up, MetricFamily.build, MetricFamily.unknownReadings].contains(metric)
        guard family.daemon == nil || family.daemon == daemon.rawValue, !(isReading && isOurs),
            family.holds(value), let own = family.taken(label)
        else { return false }
        let shared = family.daemon == nil ? [Label(key: "daemon", value: daemon.rawValue)] : []
        guard known[place].insert(shared + own).inserted else { return false }
        samples[place].append(MetricsPage.Sample(labels: shared + own, value: value))
        return true
    }
}

extension MetricFamily {
    fileprivate func holds(_ value: MetricsPage.Value) -> Bool {
        if case .histogram = value { kind == .histogram } else { kind != .histogram }
    }

    /// The labels of a sample; nil where they are not those that the family has.
    fileprivate func taken(_ label: MetricsPage.Label?) -> [MetricsPage.Label]? {
        guard let own = self.label else { return label == nil ? [] : nil }
        guard let label, label.key == own.key else { return nil }
        switch own.values {
        case .closed(let values): return values.contains(label.value) ? [label] : nil
        case .configured: return [MetricsPage.Label(key: label.key, value: DaemonControl.printable(label.value))]
        }
    }
}
