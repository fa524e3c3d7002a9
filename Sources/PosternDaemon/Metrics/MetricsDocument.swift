// What a daemon answers to `metrics` on its control socket: all its numbers, as whole ones. Times that are fractions of
// a second are in microseconds, and their names say so. The reader takes nothing on trust: lists and texts are capped,
// and what is no reading is left out.
//
//     {"name","version","readings":[{"metric","label","label_value","value"}],
//      "histograms":[{"metric","label","label_value","bounds":[us],"buckets":[],"sum_ns"}]}

public import PosternMail

public struct MetricsDocument: Hashable, Sendable {
    /// A histogram with the bounds of its daemon's release.
    public struct Histogram: Hashable, Sendable {
        public let name: CounterName
        /// In microseconds, rising.
        public let bounds: [Int64]
        /// One for each bound, and one for what is longer; not summed up.
        public let buckets: [Int64]
        /// In nanoseconds.
        public let sum: Int64
    }

    public struct Reading: Hashable, Sendable {
        public let name: CounterName
        public let value: Int64
    }

    /// The word of the control socket.
    public static let command = "metrics"
    /// Most readings that are taken; a daemon with 256 zones has two thousand.
    public static let maxReadings = 8192
    public static let maxHistograms = 64
    public static let maxBuckets = 64
    /// Longest name of a metric or label, in octets; a label's value may be a domain's name.
    static let maxTextOctets = 512

    public let version: String
    public let readings: [Reading]
    public let histograms: [Histogram]

    public init(version: String, readings: [Reading], histograms: [Histogram]) {
        self.version = version
        self.readings = readings
        self.histograms = histograms
    }

    public init(version: String, readings: [CounterReading], histograms: [HistogramReading]) {
        self.init(
            version: version, readings: readings.map { Reading(name: $0.name, value: Int64(clamping: $0.value)) },
            histograms: histograms.map {
                Histogram(
                    name: $0.name, bounds: HistogramBounds.microseconds.map { Int64(clamping: $0) },
                    buckets: $0.buckets.map { Int64(clamping: $0) }, sum: Int64(clamping: $0.sum))
            })
    }
}

// MARK: Writing

extension MetricsDocument {
    /// - Parameter program: the daemon's name.
    func document(of program: String) -> ControlDocument {
        [
            "name": .text(program), "version": .text(version),
            "readings": .list(readings.map { .object(Self.name($0.name) + [.init("value", .number($0.value))]) }),
            "histograms": .list(
                histograms.map { histogram in
                    .object(
                        Self.name(histogram.name) + [
                            .init("bounds", .list(histogram.bounds.map { .number($0) })),
                            .init("buckets", .list(histogram.buckets.map { .number($0) })),
                            .init("sum_ns", .number(histogram.sum)),
                        ])
                }),
        ]
    }

    private static func name(_ name: CounterName) -> [ControlDocument.Member] {
        [
            .init("metric", .text(name.metric)), .init("label", name.label.map { .text($0.key) } ?? .null),
            .init("label_value", name.label.map { .text($0.value) } ?? .null),
        ]
    }
}

// MARK: Reading

extension MetricsDocument {
    /// - Parameter document: what came from a socket.
    public init(_ document: ControlDocument) {
        version = document["version"]?.text.flatMap(Self.short) ?? "unknown"
        readings =
            document["readings"]?.elements.prefix(Self.maxReadings).compactMap { element in
                guard let name = Self.name(element), let value = element["value"]?.number, value >= 0 else {
                    return nil
                }
                return Reading(name: name, value: value)
            } ?? []
        histograms = document["histograms"]?.elements.prefix(Self.maxHistograms).compactMap(Self.histogram) ?? []
    }

    private static func short(_ text: String) -> String? { text.utf8.count <= maxTextOctets ? text : nil }

    private static func name(_ element: ControlDocument) -> CounterName? {
        guard let metric = element["metric"]?.text.flatMap(short) else { return nil }
        guard let key = element["label"]?.text.flatMap(short) else {
            return element["label"] == nil ? CounterName(metric) : nil
        }
        guard let value = element["label_value"]?.text.flatMap(short) else { return nil }
        return CounterName(metric, key, value)
    }

    private static func histogram(_ element: ControlDocument) -> Histogram? {
        let bounds = element["bounds"]?.elements.prefix(maxBuckets).compactMap(\.number) ?? []
        let buckets = element["buckets"]?.elements.prefix(maxBuckets).compactMap(\.number) ?? []
        guard let name = name(element), let sum = element["sum_ns"]?.number, sum >= 0,
            !bounds.isEmpty, buckets.count == bounds.count + 1, buckets.allSatisfy({ $0 >= 0 }),
            bounds.first.map({ $0 > 0 }) == true, zip(bounds, bounds.dropFirst()).allSatisfy({ $0 < $1 })
        else { return nil }
        return Histogram(name: name, bounds: bounds, buckets: buckets, sum: sum)
    }
}
