// `[policy]`: what postern-policy and postern-rate keep of the requests that they have judged, for `postern replay`.

public struct RecordSettings: Hashable, Sendable {
    /// How long a request is kept; zero: none is.
    public let keep: Duration
    /// Most octets of one daemon's records.
    public let octets: Int

    public init(keep: Duration, octets: Int) { (self.keep, self.octets) = (keep, octets) }
}

enum PolicyTable {
    static let record = Key(
        "record", .duration(in: .zero ... .seconds(366 * 86_400)), default: .zero,
        "How long each judged request is kept for postern replay, with the addresses in it. \"0s\": none is, and what "
            + "was kept goes.")
    static let recordSize = Key(
        "record_size", .size(in: 1 << 20...64 << 30), default: 256 << 20,
        "Most that each of the two daemons keeps; the oldest go first.")

    static let declaration = TableDeclaration(
        "policy",
        "Requests that postern-policy and postern-rate keep, so that postern replay can try another "
            + "configuration on them.",
        keys: [record, recordSize])
}

extension RecordSettings {
    init(_ values: TableValues) {
        self.init(keep: values[PolicyTable.record], octets: values[PolicyTable.recordSize])
    }
}
